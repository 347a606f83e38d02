"""What a session costs in a transcoder as it runs: a process with its decoder children, on a Redis server.

Each session sends a browser's Opus in real time, without a pause; where it is to hear Opus too, an answer is said to it as
fast. What comes of both is counted, lest work that was not done is cheap.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.media_record import SessionCost
from bench.service import started
from cli.load import processes
from cli.load.figures import percentile
from runtime.embedded import EmbeddedServer
from runtime.errors import StartError
from streams import codec, down, pcm, turns, up
from streams.codec import Decoder
from streams.consumer import Consumer, last_id, read
from streams.dispatch import hand_out
from streams.hub import Hub, open_hub
from streams.ids import ZERO
from streams.keys import new_sid
from streams.play import open_play
from streams.producer import Chained, Marked, Producer
from streams.sessions import Session, Sessions
from transcoder.decoded import BYTES_PER_SAMPLE, SAMPLE_RATE

CHUNK_S = 0.25
ENTRY_S = 0.1
"""As the bridge cuts what the model says."""
WARM_UP_S = 2.0
LEFT_OUT_S = 1.0
"""Of what a session has said, that may be under way when it is looked at."""
_EPOCH = 1_000


class NotDone(StartError):
    """What was paid for is not there."""


async def measure(chunks: Sequence[bytes], said: bytes, *, sessions: int, seconds: float, both: bool) -> SessionCost:
    """`chunks` of CHUNK_S each and `said` have to last for WARM_UP_S and these seconds. Raises StartError, ServerError."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parley-bench-")))
        server = stack.enter_context(EmbeddedServer())
        variables = {"REDIS_URL": server.url, "PARLEY_DECODERS": "1", "PARLEY_STREAM_DECODERS": "1"}
        pid = await asyncio.to_thread(started, stack, directory, "transcoder", ("transcoder",), variables)
        async with open_hub(server.url) as hub:
            calls = [await _open(hub, number, both=both) for number in range(sessions)]
            waits = list[float](), list[float]()
            before, after = await _watched(pid, hub, calls, chunks, said, seconds, waits, both=both)
            await _check(hub, calls, WARM_UP_S + seconds, both=both)
    worker, children = after.cpu.own - before.cpu.own, after.cpu.children - before.cpu.children
    idle = (after.machine.idle - before.machine.idle) / (after.machine.total - before.machine.total)
    return SessionCost(
        both,
        sessions,
        seconds,
        worker / (sessions * seconds),
        children / (sessions * seconds),
        max(0.0, 100 * (1 - idle)),
        _percentiles(waits[0]),
        _percentiles(waits[1]),
    )


@dataclass(frozen=True, slots=True)
class _Look:
    cpu: processes.Cpu
    machine: processes.Machine

    @classmethod
    def at(cls, pid: int) -> _Look:
        """Now."""
        return cls(processes.cpu(pid), processes.machine())


def _percentiles(waits_s: Sequence[float]) -> tuple[float, float] | None:
    return (1000 * percentile(waits_s, 50), 1000 * percentile(waits_s, 99)) if waits_s else None


async def _open(hub: Hub, number: int, *, both: bool) -> Session:
    opened = turns.Opened(user=f"u{number}", door="bench", input="stream")
    session = (await Sessions(hub.redis).create(opened, "bench", source="stream")).session
    await hand_out(hub.redis, session, "transcoder")
    if both:
        birth = (b"exact", f"{_EPOCH}-0", b"", b"")
        await hub.writer.append(session.keys.down, session.keys.marks, birth, codec.encode(down.EpochTaken("bench")))
        await open_play(hub.redis, session, "opus")
    return session


async def _watched(
    pid: int,
    hub: Hub,
    calls: Sequence[Session],
    chunks: Sequence[bytes],
    said: bytes,
    seconds: float,
    waits: tuple[list[float], list[float]],
    *,
    both: bool,
) -> tuple[_Look, _Look]:
    """What the transcoder has used before and after these seconds."""
    loop = asyncio.get_running_loop()
    begin = loop.time() + 0.1
    lasts = WARM_UP_S + seconds
    talking = [
        asyncio.create_task(talk, name="bench.talk")
        for number, session in enumerate(calls)
        for talk in _talks(hub, session, chunks, said, begin + CHUNK_S * number / len(calls), lasts, both=both)
    ]
    await asyncio.sleep(begin + WARM_UP_S - loop.time())
    before = _Look.at(pid)
    hearing = [
        asyncio.create_task(_hear(hub, stream, decoder, sort, of), name="bench.hear")
        for session in calls
        for stream, decoder, sort, of in (
            (session.keys.pcm, pcm.decoder, pcm.Audio, waits[0]),
            *([(session.keys.play("opus"), down.decoder, down.Coded, waits[1])] if both else ()),
        )
    ]
    await asyncio.sleep(begin + lasts - loop.time())
    after = _Look.at(pid)
    for task in hearing:
        task.cancel()
    await asyncio.gather(*talking)
    await asyncio.wait(hearing)
    return before, after


def _talks(
    hub: Hub, session: Session, chunks: Sequence[bytes], said: bytes, begin: float, lasts: float, *, both: bool
) -> list[Coroutine[Any, Any, None]]:
    mouth = Producer(hub.writer, session.keys.up, Marked(new_sid()))

    async def chunk(number: int) -> None:
        await mouth.append(up.Chunk(chunks[number]))

    if not both:
        return [_paced(chunk, begin, CHUNK_S, lasts)]
    model = Producer(hub.writer, session.keys.down, Chained(_EPOCH), first=1)
    entry = round(ENTRY_S * SAMPLE_RATE) * BYTES_PER_SAMPLE

    async def audio(number: int) -> None:
        sound = said[entry * number : entry * (number + 1)]
        await model.append(down.Audio("r", "i", 0, round(1000 * ENTRY_S) * number, sound))

    return [_paced(chunk, begin, CHUNK_S, lasts), _paced(audio, begin, ENTRY_S, lasts)]


async def _hear(hub: Hub, stream: str, decoder: Decoder[Any], sort: type, waits: list[float]) -> None:
    """How long after what it was made of each entry of this sort comes; not of what was there before."""
    async with Consumer(hub.redis, hub.bus, stream, decoder, after=await last_id(hub.redis, stream) or ZERO) as entries:
        async for entry in entries:
            waited = time.time() - entries.since_us / 1_000_000
            if isinstance(entry.message, sort) and entries.since_us:
                waits.append(waited)


async def _paced(say: Callable[[int], Awaitable[None]], begin: float, every_s: float, lasts: float) -> None:
    loop = asyncio.get_running_loop()
    for number in range(round(lasts / every_s)):
        await asyncio.sleep(begin + number * every_s - loop.time())
        await say(number)


async def _check(hub: Hub, calls: Sequence[Session], said_s: float, *, both: bool) -> None:
    """Raises NotDone."""
    due = (said_s - LEFT_OUT_S) * SAMPLE_RATE
    for session in calls:
        heard = [one.message for one in await read(hub.redis, session.keys.pcm, pcm.decoder)]
        made = [sum(len(one.audio) for one in heard if isinstance(one, pcm.Audio)) // BYTES_PER_SAMPLE]
        if both:
            played = [one.message for one in await read(hub.redis, session.keys.play("opus"), down.decoder)]
            packets = [one.packets for one in played if isinstance(one, down.Coded)]
            made.append(sum(each.samples * len(each.sizes) for each in packets))
        if min(made) < due:
            short = min(made) / SAMPLE_RATE
            raise NotDone(f"The transcoder is behind: of {said_s:g} s it has made {short:.1f}. Ask for fewer sessions.")
