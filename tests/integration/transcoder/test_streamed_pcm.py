"""Streamed PCM at any rate → `pcm`, exact, and the same however often its transcoder dies."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from itertools import pairwise

import pytest

from runtime.embedded import EmbeddedServer
from runtime.logs import SessionLogger
from streams import checkpoint, pcm, up
from streams.codec import encode
from streams.consumer import Consumer, last_id
from streams.dispatch import hand_out
from streams.errors import Replaced
from streams.hub import Hub
from streams.ids import EntryId
from streams.messages import Clear, Commit, End, Message
from streams.producer import open_left
from streams.sessions import Session, now_ms
from tests.integration.transcoder.streaming import (
    Made,
    chunks,
    conversation,
    finish,
    made,
    new_session,
    noise,
    say,
    until_made,
)
from tests.media.make_media import as_samples, correlation, speech
from transcoder.sandbox import DecoderPool
from transcoder.uplink import UplinkTranscoder
from transcoder.worker import Resources, SessionTranscoder, logger

LIMIT_S = 30


async def transcode(hub: Hub, session: Session, pool: DecoderPool) -> list[Made]:
    assert await asyncio.wait_for(SessionTranscoder(session, Resources(hub, pool)).run(), LIMIT_S)
    return await made(hub, session)


def audio(pieces: list[Made]) -> bytes:
    return b"".join(message.audio for _, message in pieces if isinstance(message, pcm.Audio))


def kinds(pieces: list[Made]) -> list[str]:
    """Neighbours of one kind as one."""
    names = [type(message).__name__ for _, message in pieces]
    return [name for name, before in zip(names, [None, *names], strict=False) if name != before]


async def test_it_arrives_as_the_model_wants_it(hub: Hub, pool: DecoderPool) -> None:
    """The speech itself, whole, at absolute offsets without a hole; what ends it behind its last sample."""
    said = speech("speech_espeak", 16_000, "mono").tobytes()
    session = await new_session(hub, 16_000)
    await say(hub, session, [*chunks(said, random.Random(1), 960), Commit(), End("done")])
    pieces = await transcode(hub, session, pool)
    assert kinds(pieces) == ["Audio", "Commit", "End"]
    parts = [message for _, message in pieces if isinstance(message, pcm.Audio)]
    assert parts[0].offset == 0
    assert all(a.offset is not None and b.offset == a.offset + a.samples for a, b in pairwise(parts))
    assert len(audio(pieces)) // 2 == len(said) // 2 * 3 // 2
    expected = speech("speech_espeak", 24_000, "mono").astype(float)
    assert correlation(as_samples(audio(pieces))[: len(expected)], expected) > 0.98


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
async def test_every_utterance_is_as_long_as_it_was(hub: Hub, pool: DecoderPool, rate: int) -> None:
    """To the sample, rounded half up, also those of a few samples; also one that is cleared, or never ended."""
    lengths = [1, 2, 7, 36, 41, 1_001, rate + 1]
    session = await new_session(hub, rate)
    for n, samples in enumerate(lengths):
        await say(hub, session, [up.Audio(noise(samples)), Clear() if n % 2 else Commit()])
    await say(hub, session, [up.Audio(noise(rate)), End("done")])
    heard, total = [0], 0
    for _, message in await transcode(hub, session, pool):
        if isinstance(message, pcm.Audio):
            assert message.offset == total
            total += message.samples
            heard[-1] += message.samples
        else:
            heard.append(0)
    assert heard[:-1] == [(2 * samples * 24_000 + rate) // (2 * rate) for samples in [*lengths, rate]]


@pytest.mark.parametrize("source", ["pcm16", "pcm16 24000"])
async def test_at_the_models_rate_it_passes_unchanged(hub: Hub, pool: DecoderPool, source: str) -> None:
    session = await new_session(hub, 24_000)
    await open_left(hub.writer, session.keys.up, up.GenOpened(source), now_ms())
    await say(hub, session, [up.Audio(noise(30_000)), up.Audio(noise(700, 2)), Commit(), End("x")])
    pieces = await transcode(hub, session, pool)
    assert [len(m.audio) // 2 for _, m in pieces if isinstance(m, pcm.Audio)] == [24_000, 6_000, 700]
    assert audio(pieces) == noise(30_000) + noise(700, 2)


async def test_any_cutting_gives_the_same_pcm(hub: Hub, pool: DecoderPool) -> None:
    """Bit for bit, also what a gateway has joined."""
    said, first = noise(40_000), up.Audio(noise(40_000)[:600])
    joined = first.join(up.Audio(said[600:40_000]))
    assert joined is not None
    heard = set()
    cuttings: list[list[Message]] = [
        chunks(said, random.Random(1), 40),
        chunks(said, random.Random(2), 20_000),
        [joined, up.Audio(said[40_000:])],
    ]
    for cutting in cuttings:
        session = await new_session(hub, 16_000)
        await say(hub, session, [*cutting, End("x")])
        heard.add(audio(await transcode(hub, session, pool)))
    assert len(heard) == 1


async def test_each_gen_has_its_own_rate(hub: Hub, pool: DecoderPool) -> None:
    """And one that is not taken is said to be so; the session goes on."""
    session = await new_session(hub, 16_000)
    await say(hub, session, [up.Audio(noise(1_000))])
    for source in ("pcm16 48000", "pcm16 7"):
        await open_left(hub.writer, session.keys.up, up.GenOpened(source), now_ms())
        await say(hub, session, [up.Audio(noise(2_000))])
    await say(hub, session, [End("x")])
    pieces = await transcode(hub, session, pool)
    assert len(audio(pieces)) // 2 == 1_500 + 1_000
    (error,) = [message for _, message in pieces if isinstance(message, pcm.MediaError)]
    assert error.code == "unsupported_media"


async def test_half_a_sample_is_dropped(hub: Hub, pool: DecoderPool) -> None:
    session = await new_session(hub, 24_000)
    await say(hub, session, [up.Audio(noise(10) + b"\1"), up.Audio(noise(10)), End("x")])
    assert audio(await transcode(hub, session, pool)) == noise(10) * 2


async def test_up_keeps_a_warm_up_and_no_more(hub: Hub, pool: DecoderPool) -> None:
    """A quarter of a second behind what is done, looked at once a second; after an utterance nothing but the last entry."""
    session = await new_session(hub, 16_000)
    tip = EntryId(0, 0)
    transcoder = asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run())
    longest = 0
    for n in range(300):
        await say(hub, session, [up.Audio(noise(320, n))])
        tip = await until_made(hub, session, 1, tip)
        longest = max(longest, await hub.redis.xlen(session.keys.up))
    assert 13 < longest < 70
    await say(hub, session, [Commit(), End("x")])
    await asyncio.wait_for(transcoder, LIMIT_S)
    assert await hub.redis.xlen(session.keys.up) == 1


# ── takeover ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000])
async def test_a_killed_transcoder_leaves_no_seam(hub: Hub, pool: DecoderPool, rate: int) -> None:
    """Again and again, anywhere: what goes upstream is what one that lived would have sent, to the bit."""
    said = conversation(rate, seed=rate)
    calm = await new_session(hub, rate)
    await say(hub, calm, said)
    undisturbed = await transcode(hub, calm, pool)
    chance = random.Random(rate)
    for _ in range(3):
        session = await new_session(hub, rate)
        saying = asyncio.create_task(say(hub, session, said))
        tip, kills = EntryId(0, 0), 0
        while True:
            task = asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run())
            tip = await until_made(hub, session, chance.randint(1, 30), tip)
            if (await made(hub, session))[-1:] == undisturbed[-1:]:
                break
            await finish(task)
            kills += 1
        assert await asyncio.wait_for(task, LIMIT_S)
        await saying
        assert await made(hub, session) == undisturbed
        assert kills > 2


class Paced(UplinkTranscoder):
    """Dies as soon as it is done with so many entries, checkpoint and all."""

    entries_left = 0

    async def _save(self) -> None:
        await super()._save()
        self.entries_left -= 1
        if self.entries_left == 0:
            raise asyncio.CancelledError


async def die_after(hub: Hub, session: Session, pool: DecoderPool, entries: int) -> None:
    uplink = Paced(session, hub, pool, None, SessionLogger(logger, session.sid), stays=lambda: False)
    uplink.entries_left = entries
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(uplink.run(), LIMIT_S)


async def test_the_next_one_hears_what_came_before(hub: Hub, pool: DecoderPool) -> None:
    """Wherever in an utterance of three seconds it dies: right behind a checkpoint too, where least is left in `up`."""
    said = [*(up.Audio(noise(320, n)) for n in range(150)), Commit(), End("x")]
    calm = await new_session(hub, 16_000)
    await say(hub, calm, said)
    undisturbed = await transcode(hub, calm, pool)
    for done in (*range(49, 54), *range(62, 66), *range(112, 116), 151):
        session = await new_session(hub, 16_000)
        await say(hub, session, said)
        await die_after(hub, session, pool, done)
        assert await hub.redis.xlen(session.keys.up) <= 153 - done + 63
        assert await transcode(hub, session, pool) == undisturbed


async def test_the_next_one_knows_that_all_is_done(hub: Hub, pool: DecoderPool) -> None:
    """The one before died when it had written the end, and had told nobody: the next does not wait for more."""
    session = await new_session(hub, 16_000)
    await say(hub, session, [up.Audio(noise(16_000)), End("done")])
    pieces = await transcode(hub, session, pool)
    assert await asyncio.wait_for(SessionTranscoder(session, Resources(hub, pool)).run(), LIMIT_S)
    assert await made(hub, session) == pieces


async def test_one_that_had_written_only_some_pieces(hub: Hub, pool: DecoderPool) -> None:
    """Of an entry that makes several: the next one adds the others, wherever it stopped."""
    rate = 8_000
    said: list[Message] = [up.Audio(noise(20_000)), up.Audio(noise(24_000, 2)), Commit(), up.Audio(noise(9_000)), End("x")]
    calm = await new_session(hub, rate)
    await say(hub, calm, said)
    undisturbed = await transcode(hub, calm, pool)
    assert len(undisturbed) > 10
    for count in range(len(undisturbed)):
        session = await new_session(hub, rate)
        await say(hub, session, said)
        gen = (await last_id(hub.redis, session.keys.up) or EntryId(0, 0)).left
        for right, message in undisturbed[:count]:
            scheme = (b"exact", f"{gen}-{right}", b"", b"")
            await hub.writer.append(session.keys.pcm, session.keys.marks, scheme, encode(message))
        assert await transcode(hub, session, pool) == undisturbed


async def test_two_at_once(hub: Hub, pool: DecoderPool) -> None:
    """One that was thought dead goes on: everything is there once, as one alone would have made it."""
    said = conversation(16_000, seed=5)
    calm, session = await new_session(hub, 16_000), await new_session(hub, 16_000)
    await say(hub, calm, said)
    undisturbed = await transcode(hub, calm, pool)
    both = [asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run()) for _ in range(2)]
    await say(hub, session, said)
    ended = await asyncio.wait_for(asyncio.gather(*both), LIMIT_S)
    assert any(ended)
    assert await made(hub, session) == undisturbed


async def until_committed(hub: Hub, session: Session) -> None:
    async with Consumer(hub.redis, hub.bus, session.keys.pcm, pcm.decoder) as entries:
        async for entry in entries:
            if isinstance(entry.message, Commit):
                return


class Late(UplinkTranscoder):
    """Stopped just after it has looked where to begin."""

    def hold(self) -> None:
        self.began, self.go = asyncio.Event(), asyncio.Event()

    async def _begin(self) -> EntryId:
        begin = await super()._begin()
        self.began.set()
        await self.go.wait()
        return begin


async def test_one_that_wakes_up_late_writes_nothing(hub: Hub, pool: DecoderPool) -> None:
    """What it would go on from is gone from `up`: it does not guess, and leaves the session to the other."""
    session = await new_session(hub, 16_000)
    zombie = Late(session, hub, pool, None, SessionLogger(logger, session.sid), stays=lambda: False)
    zombie.hold()
    task = asyncio.create_task(zombie.run())
    await asyncio.wait_for(zombie.began.wait(), LIMIT_S)
    await say(hub, session, [*chunks(noise(50_000), random.Random(1), 800), Commit()])
    other = asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run())
    await until_committed(hub, session)
    await finish(other)
    before = await made(hub, session)
    await say(hub, session, [up.Audio(noise(5_000)), End("x")])
    zombie.go.set()
    with pytest.raises(Replaced):
        await asyncio.wait_for(task, LIMIT_S)
    assert await made(hub, session) == before
    pieces = await transcode(hub, session, pool)
    assert len(audio(pieces)) // 2 == 75_000 + 7_500


async def test_a_checkpoint_never_goes_back(hub: Hub) -> None:
    """And what it trims leaves the last entry."""
    session = await new_session(hub, 16_000)
    await say(hub, session, [up.Audio(b"\0\0")] * 5)
    gen = (await last_id(hub.redis, session.keys.up) or EntryId(0, 0)).left
    for seq, left in ((3, 2), (2, 2), (5, 1), (4, 1)):
        await checkpoint.save(hub.redis, session, checkpoint.Checkpoint(upto=f"{gen}-{seq}", made=seq))
        assert await hub.redis.xlen(session.keys.up) == left
    assert (await checkpoint.load(hub.redis, session)).made == 5


async def start_process(server: EmbeddedServer) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "transcoder"), env={"REDIS_URL": server.url, "PARLEY_DECODERS": "1", "LOG_LEVEL": "ERROR"}
    )


async def test_processes_that_are_killed(hub: Hub, pool: DecoderPool, redis_server: EmbeddedServer) -> None:
    """Hard, in mid-stream, with what they had in hand: two of them take turns, and nobody can tell."""
    said = conversation(16_000, seed=9)
    calm, session = await new_session(hub, 16_000), await new_session(hub, 16_000)
    await say(hub, calm, said)
    undisturbed = await transcode(hub, calm, pool)
    processes = [await start_process(redis_server)]
    try:
        await hand_out(hub.redis, session, "transcoder")
        tip = EntryId(0, 0)
        for part, kill in ((said[: len(said) // 2], True), (said[len(said) // 2 :], False)):
            saying = asyncio.create_task(say(hub, session, part))
            tip = await asyncio.wait_for(until_made(hub, session, 12, tip), LIMIT_S)
            if kill:
                processes.append(await start_process(redis_server))
                processes[0].send_signal(signal.SIGKILL)
                await processes[0].wait()
            await saying
        while (await made(hub, session))[-1:] != undisturbed[-1:]:
            tip = await asyncio.wait_for(until_made(hub, session, 1, tip), LIMIT_S)
        assert await made(hub, session) == undisturbed
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
                await process.wait()
