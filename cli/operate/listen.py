"""`parley listen`: both voices of a live session, to a WAV file or through a pipe to a player."""

from __future__ import annotations

import array
import asyncio
import contextlib
import sys
import wave
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import pybase64

from cli.errors import OperateError
from cli.operate import timeline
from cli.operate.api import Operator, operator, session_of
from cli.operate.following import following
from cli.operate.timeline import Timeline

EVERY_S = 0.1


class Sink(Protocol):
    def __call__(self, user: array.array[int], model: array.array[int]) -> None: ...


async def run(session: str, url: str | None, output: Path | None, *, mixed: bool, seconds: float | None) -> int:
    """The command, until the session or the time is over. No output: standard output. Raises OperateError, SettingsError."""
    if output is None and sys.stdout.isatty():
        raise OperateError("Sound is not for a terminal: name a file with --output, or pipe it to a player, as ffplay -.")
    async with operator(url) as asking:
        sid = await session_of(asking, session)
        tape = Timeline()
        with _sink(output, mixed=mixed) as sink, suppress(BrokenPipeError):  # the player has been closed
            await _record(asking, sid, tape, sink, seconds)
    if output is not None:
        print(f"{tape.given / timeline.RATE:.1f} s in {output}", file=sys.stderr)
    return 0


async def _record(asking: Operator, sid: str, tape: Timeline, sink: Sink, seconds: float | None) -> None:
    loop = asyncio.get_running_loop()
    since = loop.time()

    def note(sentence: str) -> None:
        tape.missing()
        print(sentence, file=sys.stderr, flush=True)

    async def hear() -> None:
        async for entry in following(asking, sid, note, audio=True):
            if entry["kind"] == "audio":
                sound, start_ms = pybase64.b64decode(entry["audio"]), 0 if entry.get("part") else entry.get("start_ms", 0)
                tape.put(entry["side"], sound, loop.time() - since, entry.get("item"), start_ms)
            elif entry["kind"] == "interrupted":
                tape.interrupted(entry["item"], entry["at_ms"])

    hearing = asyncio.create_task(hear())
    try:
        while not hearing.done() and (seconds is None or loop.time() - since < seconds):
            await asyncio.wait({hearing}, timeout=EVERY_S)
            sink(*tape.due(loop.time() - since))
        if hearing.done():
            sink(*tape.rest())
            hearing.result()
    finally:
        hearing.cancel()
        await asyncio.wait({hearing})


@contextmanager
def _sink(output: Path | None, *, mixed: bool) -> Iterator[Sink]:
    """What takes both voices. A file is whole whenever the command ends. Raises OperateError."""
    coded, channels = (timeline.mono, 1) if mixed else (timeline.stereo, 2)
    if output is None:
        pipe = sys.stdout.buffer
        pipe.write(timeline.endless_header(channels))

        def to_pipe(user: array.array[int], model: array.array[int]) -> None:
            pipe.write(coded(user, model))
            pipe.flush()

        yield to_pipe
        return
    try:
        with output.open("wb") as whole, contextlib.closing(wave.open(whole, "wb")) as file:
            file.setparams((channels, 2, timeline.RATE, 0, "NONE", ""))
            yield lambda user, model: file.writeframes(coded(user, model))
    except OSError as error:
        raise OperateError(f"{output} cannot be written: {error.strerror or error}.") from error
