"""Many streams in a few children: exact as in one process, apart from each other, and told when their child is gone."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from tests.media.make_media import STREAMS, make_stream
from transcoder import stream_pool
from transcoder.child_process import Child
from transcoder.errors import BrokenMedia, DecoderFailed, MediaError, NotAudio, TooLong, UnsupportedMedia
from transcoder.lifetime import Lifetime
from transcoder.stream import StreamDecoder
from transcoder.stream_pool import DecodedStream, Lost, StreamPool

LIMIT_S = 30.0


def cut(data: bytes, size: int = 900) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def here(data: bytes) -> bytes:
    decoder = StreamDecoder()
    return decoder.feed(data, max_seconds=100).pcm + decoder.close(max_seconds=100).pcm


async def through(stream: DecodedStream, chunks: list[bytes]) -> bytes:
    heard = [(await stream.feed(chunk, max_seconds=100)).pcm for chunk in chunks]
    return b"".join(heard) + (await stream.close(max_seconds=100)).pcm


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_streams_of_every_kind_at_once_each_hear_themselves() -> None:
    async with asyncio.timeout(LIMIT_S), StreamPool(2) as pool:
        wanted = {name: make_stream(name) for name in STREAMS}
        heard = await asyncio.gather(*(through(pool.open("stream"), cut(data)) for data in wanted.values()))
        assert dict(zip(wanted, heard, strict=True)) == {name: here(data) for name, data in wanted.items()}
        assert pool.replaced == 0


async def test_what_a_stream_is_is_told_as_soon_as_it_is_known() -> None:
    async with asyncio.timeout(LIMIT_S), StreamPool() as pool:
        stream = pool.open("stream")
        assert stream.what == ""
        await stream.feed(make_stream("opus.webm"), max_seconds=100)
        assert stream.what == "opus 48000 Hz 1 ch"


@pytest.mark.parametrize(
    ("source", "data", "error"),
    [("stream", bytes(100), NotAudio), ("mp3", b"x", UnsupportedMedia), ("stream", make_stream("opus.webm"), TooLong)],
)
async def test_a_stream_that_is_refused_harms_no_other(source: str, data: bytes, error: type[MediaError]) -> None:
    async with asyncio.timeout(LIMIT_S), StreamPool() as pool:
        good, bad = pool.open("stream"), pool.open(source)
        chunks = cut(make_stream("opus.ogg"))
        first = await good.feed(chunks[0], max_seconds=100)
        with pytest.raises(error):
            await bad.feed(data, max_seconds=0.5)
        await bad.drop()
        assert first.pcm + await through(good, chunks[1:]) == here(make_stream("opus.ogg"))
        assert pool.replaced == 0


async def test_streams_whose_child_is_killed_are_told_and_others_go_on() -> None:
    async with asyncio.timeout(LIMIT_S), StreamPool(2) as pool:
        streams = [pool.open("stream") for _ in range(4)]
        chunks = cut(make_stream("live_opus.webm"))
        for stream in streams:
            await stream.feed(chunks[0], max_seconds=100)
        os.kill(pool.pids[0], signal.SIGKILL)
        told = await asyncio.gather(*(through(stream, chunks[1:]) for stream in streams), return_exceptions=True)
        assert [isinstance(each, Lost) for each in told].count(True) == 2
        assert [isinstance(each, bytes) for each in told].count(True) == 2
        assert await through(pool.open("stream"), chunks) == here(make_stream("live_opus.webm"))


async def test_a_child_that_hangs_is_replaced() -> None:
    async with asyncio.timeout(LIMIT_S), StreamPool(hang_s=LIMIT_S) as pool:
        stream = pool.open("stream")
        chunks = cut(make_stream("opus.ogg"))
        await stream.feed(chunks[0], max_seconds=100)
        os.kill(pool.pids[0], signal.SIGSTOP)
        pool._hang_s = 0.5
        with pytest.raises(Lost):
            await stream.feed(chunks[1], max_seconds=100)
        pool._hang_s = LIMIT_S
        assert await through(pool.open("stream"), chunks) == here(make_stream("opus.ogg"))
        assert pool.replaced == 1


async def test_whoever_leaves_in_the_middle_of_a_chunk_spoils_no_answer() -> None:
    async with asyncio.timeout(LIMIT_S), StreamPool() as pool:
        stream = pool.open("stream")
        asking = asyncio.create_task(stream.feed(make_stream("pcm.mkv"), max_seconds=100))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        await stream.drop()
        assert await through(pool.open("stream"), cut(make_stream("opus.ogg"))) == here(make_stream("opus.ogg"))
        assert pool.replaced == 0


async def test_one_more_child_is_started_where_all_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_pool, "MAX_STREAMS", 2)
    async with asyncio.timeout(LIMIT_S), StreamPool() as pool:
        streams = [pool.open("stream") for _ in range(3)]
        chunks = cut(make_stream("opus.ogg"))
        heard = await asyncio.gather(*(through(stream, chunks) for stream in streams))
        assert set(heard) == {here(make_stream("opus.ogg"))}
        assert len(pool.pids) == 2


async def test_whoever_was_not_at_work_is_told_so() -> None:
    async with asyncio.timeout(LIMIT_S), StreamPool(hang_s=LIMIT_S) as pool:
        one, other = pool.open("stream"), pool.open("stream")
        for stream in (one, other):
            await stream.feed(b"OggS", max_seconds=100)
        os.kill(pool.pids[0], signal.SIGSTOP)
        pool._hang_s = 0.5
        told = await asyncio.gather(*(each.feed(b"x", max_seconds=1) for each in (one, other)), return_exceptions=True)
        assert [error.at_work for error in told if isinstance(error, Lost)] == [True, False]


async def test_nobody_is_left_when_the_pool_is_closed() -> None:
    async with asyncio.timeout(LIMIT_S):
        async with StreamPool(2) as pool:
            pids = pool.pids
            await pool.open("stream").feed(make_stream("opus.ogg"), max_seconds=100)
        assert not any(map(is_alive, pids))


async def test_what_was_kept_goes_on_in_another_child() -> None:
    async with asyncio.timeout(LIMIT_S), StreamPool() as pool:
        chunks = cut(make_stream("flac.ogg"), 3_000)
        stream = pool.open("stream")
        heard = [(await stream.feed(chunk, max_seconds=100, keep=True)).pcm for chunk in chunks[:10]]
        kept, fed = stream.kept, 10
        assert kept
        heard += [(await stream.feed(chunk, max_seconds=100)).pcm for chunk in chunks[10:12]]
        assert stream.kept == b""
        os.kill(pool.pids[0], signal.SIGKILL)
        with pytest.raises(Lost):
            await stream.feed(chunks[12], max_seconds=100)
        rest = await through(pool.open("stream", kept), chunks[fed:])
        assert b"".join(heard[:fed]) + rest == here(make_stream("flac.ogg"))


async def test_what_was_kept_and_has_gone_bad_is_refused() -> None:
    async with asyncio.timeout(LIMIT_S), StreamPool() as pool:
        with pytest.raises(BrokenMedia):
            await pool.open("stream", b"nonsense").feed(b"x", max_seconds=100)
        assert pool.replaced == 0


async def test_an_old_child_gets_no_new_streams_and_goes_with_its_last_one() -> None:
    async with asyncio.timeout(LIMIT_S), StreamPool(lifetime=Lifetime(seconds=0.2)) as pool:
        (old,) = pool.pids
        chunks = cut(make_stream("opus.ogg"))
        stream = pool.open("stream")
        first = await stream.feed(chunks[0], max_seconds=100)
        while not pool.relieved:  # noqa: ASYNC110 (the pool tells nobody)
            await asyncio.sleep(0.01)
        assert await through(pool.open("stream"), chunks) == here(make_stream("opus.ogg"))
        assert is_alive(old)
        assert first.pcm + await through(stream, chunks[1:]) == here(make_stream("opus.ogg"))
        while is_alive(old):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert pool.replaced == 0


async def test_after_the_grace_an_old_childs_streams_go_on_elsewhere() -> None:
    async with asyncio.timeout(LIMIT_S), StreamPool(lifetime=Lifetime(seconds=0.2, grace_s=0.1)) as pool:
        (old,) = pool.pids
        chunks = cut(make_stream("opus.ogg"))
        stream, idle = pool.open("stream"), pool.open("stream")
        await stream.feed(chunks[0], max_seconds=100)
        while is_alive(old):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for each in (stream, idle):
            with pytest.raises(Lost):
                await each.feed(chunks[1], max_seconds=100)
        assert pool.replaced == 0
        assert old not in pool.pids


async def test_an_old_child_that_cannot_be_relieved_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: asyncio.Queue[None] = asyncio.Queue()
    start, begun = Child.start, 0

    async def only_the_first(
        timeout_s: float,
    ) -> Child:  # the pool's own; on a busy machine it is old before the pool is open
        nonlocal begun
        begun += 1
        if begun == 1:
            return await start(timeout_s)
        tried.put_nowait(None)
        raise DecoderFailed("there is no memory")

    monkeypatch.setattr(Child, "start", only_the_first)
    async with asyncio.timeout(LIMIT_S), StreamPool(children=1, lifetime=Lifetime(seconds=0.1)) as pool:
        pids = pool.pids
        for _ in range(2):
            await tried.get()
        assert (pool.pids, pool.relieved) == (pids, 0)
        assert await through(pool.open("stream"), cut(make_stream("opus.ogg"))) == here(make_stream("opus.ogg"))


@pytest.mark.parametrize("turns", range(6))
async def test_who_is_cancelled_while_it_kills_leaves_nothing_running(turns: int) -> None:
    child = await Child.start(LIMIT_S)
    killing = asyncio.create_task(child.kill())
    for _ in range(turns):
        await asyncio.sleep(0)
    killing.cancel()
    await asyncio.wait({killing})
    if turns:
        assert not is_alive(child.pid)
        assert child.ended
    await child.kill()


async def test_a_pool_that_ends_while_it_relieves_leaves_nothing_running(monkeypatch: pytest.MonkeyPatch) -> None:
    kill, begun, pids = Child.kill, asyncio.Event(), set[int]()

    async def seen(child: Child) -> str:
        pids.add(child.pid)
        begun.set()
        return await kill(child)

    monkeypatch.setattr(Child, "kill", seen)
    async with asyncio.timeout(LIMIT_S), StreamPool(children=1, lifetime=Lifetime(seconds=0.1)):
        await begun.wait()
    assert not any(is_alive(pid) for pid in pids)
