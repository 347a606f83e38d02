"""What a session costs in a transcoder as it runs: a process with its decoder children, on a Redis server.

Each session sends a browser's Opus in real time, without a pause; where it is to hear Opus too, an answer is said to it as
fast. What comes of both is counted, lest work that was not done is cheap.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.media_record import SessionCost
from bench.service import started
from cli.load import processes
from runtime.embedded import EmbeddedServer
from runtime.errors import StartError
from streams import codec, down, pcm, turns, up
from streams.consumer import read
from streams.dispatch import hand_out
from streams.hub import Hub, open_hub
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
            before, after = await _watched(pid, hub, calls, chunks, said, seconds, both=both)
            await _check(hub, calls, WARM_UP_S + seconds, both=both)
    worker, children = after.own - before.own, after.children - before.children
    return SessionCost(both, sessions, seconds, worker / (sessions * seconds), children / (sessions * seconds))


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
    pid: int, hub: Hub, calls: Sequence[Session], chunks: Sequence[bytes], said: bytes, seconds: float, *, both: bool
) -> tuple[processes.Cpu, processes.Cpu]:
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
    before = processes.cpu(pid)
    await asyncio.sleep(begin + lasts - loop.time())
    after = processes.cpu(pid)
    await asyncio.gather(*talking)
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
