"""Redis comes back without the last that a transcoder has written: what was made of what it still has is made again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest

from runtime.embedded import EmbeddedServer
from streams import pcm, up
from streams.consumer import last_id
from streams.errors import StreamUnavailable
from streams.hub import Hub, open_hub
from streams.ids import EntryId
from streams.keys import PlayCodec
from streams.messages import Commit, End
from streams.play import open_play
from streams.sessions import Session
from tests.integration.transcoder.streaming import chunks, finish, made, new_session, noise, say
from tests.integration.transcoder.test_play import EPOCH, answer, entries_of, sound, tell
from tests.media.make_media import make_clip
from transcoder.sandbox import DecoderPool
from transcoder.worker import Resources, SessionTranscoder

LIMIT_S = 20
CODEC: PlayCodec = "pcm16_16000"
SAID = chunks(noise(16_000), Random(1), 1_600)


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
async def hub(server: EmbeddedServer) -> AsyncIterator[Hub]:
    async with open_hub(server.url) as hub:
        yield hub


@asynccontextmanager
async def transcoding(hub: Hub, session: Session, pool: DecoderPool) -> AsyncIterator[asyncio.Task[bool]]:
    task = asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run())
    try:
        yield task
    finally:
        await finish(task)


async def until_last(hub: Hub, stream: str, wanted: EntryId) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            with suppress(StreamUnavailable):
                if await last_id(hub.redis, stream) == wanted:
                    return
            await asyncio.sleep(0.01)


async def turn_back(server: EmbeddedServer) -> None:
    """To where it was when it saved."""
    server.kill()
    await server.start_async()


async def test_a_recording_is_decoded_again_though_nobody_says_more(
    server: EmbeddedServer, hub: Hub, pool: DecoderPool
) -> None:
    """It is long enough that it would not fit into the two minutes twice."""
    session = await new_session(hub, 24_000)
    await say(hub, session, [up.File(make_clip("speech_jfk", rate=8_000, samples=8_000 * 70).data, 1)])
    await hub.redis.save()
    async with transcoding(hub, session, pool):
        async with asyncio.timeout(LIMIT_S):
            while not any(isinstance(message, pcm.UtteranceEnd) for _, message in await made(hub, session)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        before = await made(hub, session)
        last = await last_id(hub.redis, session.keys.pcm)
        assert last is not None
        await turn_back(server)
        await until_last(hub, session.keys.pcm, last)
        assert await made(hub, session) == before


async def test_speech_that_goes_on_has_no_hole(server: EmbeddedServer, hub: Hub, pool: DecoderPool) -> None:
    """To the sample as if nothing had happened."""
    session, whole = await new_session(hub, 16_000), await new_session(hub, 16_000)
    await say(hub, whole, [*SAID, Commit(), *SAID, End("done")])
    async with transcoding(hub, whole, pool) as task:
        assert await asyncio.wait_for(task, LIMIT_S)
    await say(hub, session, SAID)
    await hub.redis.save()
    async with transcoding(hub, session, pool) as task:
        async with asyncio.timeout(LIMIT_S):
            while len(await made(hub, session)) < len(SAID):  # noqa: ASYNC110 - another task
                await asyncio.sleep(0.01)
        await turn_back(server)
        await say(hub, session, [Commit(), *SAID, End("done")])
        assert await asyncio.wait_for(task, LIMIT_S)
    assert await made(hub, session) == await made(hub, whole)


async def test_a_play_stream_is_filled_again(server: EmbeddedServer, hub: Hub, pool: DecoderPool) -> None:
    session = await new_session(hub, 24_000)
    await open_play(hub.redis, session, CODEC)
    messages = answer(noise(24_010), "i1", "r1")
    await tell(hub, session, messages)
    await hub.redis.save()
    stream, last = session.keys.play(CODEC), EntryId(EPOCH, len(messages))
    async with transcoding(hub, session, pool):
        await until_last(hub, stream, last)
        before = await entries_of(hub, stream)
        await turn_back(server)
        await until_last(hub, stream, last)
        assert sound(await entries_of(hub, stream), "i1") == sound(before, "i1") != b""
