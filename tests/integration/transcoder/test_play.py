"""Play streams: `down` at another rate, entry for entry, and the same however often its transcoder dies."""

from __future__ import annotations

import asyncio
import random
from secrets import token_hex

import msgspec
import pytest

from gateway.backend import Backend
from gateway.downlink import Downlink
from gateway.errors import SessionEnded
from streams import down, keys, turns
from streams.coding import Coding, is_coded
from streams.consumer import Consumer, Entry, read
from streams.dispatch import hand_out
from streams.errors import Over
from streams.hub import Hub
from streams.ids import BIRTH, EntryId
from streams.keys import PLAY_CODECS, PlayCodec
from streams.messages import End
from streams.play import open_play, open_plays, sample_rate
from streams.producer import Chained, Producer
from streams.sessions import Session, Sessions
from tests.integration.transcoder.streaming import finish, noise, say, until_made
from tests.media.make_media import as_samples, correlation, speech
from transcoder import play
from transcoder.sandbox import DecoderPool
from transcoder.worker import Resources, SessionTranscoder

LIMIT_S = 30
EPOCH = 1_000
PCM_CODECS = [codec for codec in PLAY_CODECS if not is_coded(codec)]


@pytest.fixture
async def session(hub: Hub) -> Session:
    return (await Sessions(hub.redis).create(turns.Opened(user=token_hex(4), door="ios"), "c")).session


def event(type_: str, **about: object) -> down.ServerEvent:
    return down.ServerEvent(type_, msgspec.Raw(msgspec.json.encode({"type": type_, **about})))


def part(pcm: bytes, item: str, response: str = "r", index: int = 0) -> list[down.DownMessage]:
    """As the bridge says it: entries of a tenth of a second, events between."""
    entries: list[down.DownMessage] = []
    for at in range(0, len(pcm), 4800):
        entries.append(down.Audio(response, item, index, at // 48, pcm[at : at + 4800]))
        entries.append(event("response.output_audio_transcript.delta", item_id=item, content_index=index, delta="la"))
    return [*entries, event("response.output_audio.done", item_id=item, content_index=index, response_id=response)]


def answer(pcm: bytes, item: str, response: str) -> list[down.DownMessage]:
    return [
        event("response.created", response={"id": response}),
        *part(pcm, item, response),
        event("response.done", response={"id": response, "output": []}),
    ]


def told(seed: int = 1) -> list[down.DownMessage]:
    """Two answers, one that is interrupted, one of two parts at once, and the end."""
    broken = answer(noise(24_000, seed + 2), "i3", "r3")[:10]
    first, second = part(noise(9_007, seed + 3), "i4", "r4"), part(noise(9_000, seed + 4), "i4", "r4", 1)
    both = [entry for pair in zip(first, second, strict=True) for entry in pair]
    return [
        *answer(noise(24_010, seed), "i1", "r1"),
        *answer(noise(4_801, seed + 1), "i2", "r2"),
        *broken,
        down.Interrupted("i3", 0, 200),
        event("response.output_audio.done", item_id="i3", content_index=0, response_id="r3"),
        *both,
        down.Ended("client_left"),
    ]


async def tell(hub: Hub, session: Session, messages: list[down.DownMessage], epoch: int = EPOCH, first: int = 0) -> None:
    """As the bridge of this epoch does."""
    if first == 0:
        await hub.writer.append(
            session.keys.down, session.keys.marks, (b"exact", f"{epoch}-0", b"", b""), [b"kind", b"epoch", b"owner", b"me"]
        )
        first = 1
    producer = Producer(hub.writer, session.keys.down, Chained(epoch), first=first)
    for message in messages:
        await producer.append(message)


async def entries_of(hub: Hub, stream: str) -> list[Entry[down.DownMessage]]:
    return await read(hub.redis, stream, down.decoder)


async def until_ended(hub: Hub, session: Session, codec: PlayCodec) -> list[Entry[down.DownMessage]]:
    """As a door reads it."""
    backend = Backend(hub.redis, hub.writer, hub.bus, Sessions(hub.redis), "here")
    heard: list[Entry[down.DownMessage]] = []

    async def listen() -> None:
        async for entry in Downlink(backend, session, codec=codec).entries():
            heard.append(entry)  # noqa: PERF401 (it ends by an exception)

    with pytest.raises(SessionEnded):
        await asyncio.wait_for(listen(), LIMIT_S)
    return heard


async def until_written(hub: Hub, session: Session, codec: PlayCodec, last: EntryId) -> None:
    """Wait for this entry."""
    async with asyncio.timeout(LIMIT_S), Consumer(hub.redis, hub.bus, session.keys.play(codec), down.decoder) as entries:
        async for entry in entries:
            if entry.id >= last:
                return


def sound(entries: list[Entry[down.DownMessage]], item: str, index: int = 0) -> bytes:
    """What a door plays of a part: its audio, and the tail of what ends it."""
    pcm = b""
    for _, message, _ in entries:
        match message:
            case down.Audio(item=of, part=at, audio=audio) if (of, at) == (item, index):
                pcm += audio
            case down.ServerEvent(tail=bytes(tail), body=body) if b'"%s"' % item.encode() in bytes(body):
                pcm += tail if msgspec.json.decode(body).get("content_index", index) == index else b""
    return pcm


def without_sound(message: down.DownMessage) -> down.DownMessage:
    match message:
        case down.Audio():
            return msgspec.structs.replace(message, audio=b"")
        case down.ServerEvent():
            return msgspec.structs.replace(message, tail=None, tails=None)
    return message


@pytest.mark.parametrize("codec", PCM_CODECS)
async def test_it_is_down_with_another_sound(hub: Hub, session: Session, pool: DecoderPool, codec: PlayCodec) -> None:
    """Each id and each word; each part as long as it was, to the sample, and one that is interrupted as far as it came."""
    await open_play(hub.redis, session, codec)
    task = asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run())
    await tell(hub, session, told())
    heard = await until_ended(hub, session, codec)
    whole = await entries_of(hub, session.keys.down)
    assert [entry.id for entry in heard] == [entry.id for entry in whole[1:]]
    assert [without_sound(entry.message) for entry in heard] == [without_sound(entry.message) for entry in whole[1:]]
    rate = sample_rate(codec)
    for item, index, samples in (("i1", 0, 24_010), ("i2", 0, 4_801), ("i4", 0, 9_007), ("i4", 1, 9_000)):
        assert len(sound(heard, item, index)) // 2 == int(samples * rate / 24_000 + 0.5)
    interrupted = len(sound(heard, "i3")) / 2 / rate
    assert 0.495 < interrupted <= 0.5
    await Sessions(hub.redis).end(session)
    assert await asyncio.wait_for(task, LIMIT_S)


async def test_an_answer_is_itself(hub: Hub, session: Session, pool: DecoderPool) -> None:
    """Speech, heard at 16 kHz."""
    await open_play(hub.redis, session, "pcm16_16000")
    task = asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run())
    await tell(hub, session, [*answer(speech("speech_espeak", 24_000, "mono").tobytes(), "i", "r"), down.Ended("done")])
    heard = as_samples(sound(await until_ended(hub, session, "pcm16_16000"), "i"))
    expected = speech("speech_espeak", 16_000, "mono").astype(float)
    length = min(len(heard), len(expected))
    assert correlation(heard[:length], expected[:length]) > 0.98
    await finish(task)


async def test_a_part_whose_end_was_not_said(hub: Hub, session: Session, pool: DecoderPool) -> None:
    """Its last samples come with the end of its answer."""
    await open_play(hub.redis, session, "pcm16_16000")
    task = asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run())
    *audio, _ = part(noise(6_000), "i", "r")
    done = event("response.done", response={"id": "r", "output": [{"id": "i"}]})
    await tell(hub, session, [*audio, done, event("odd"), event("response.done", of="nobody"), down.Ended("x")])
    assert len(sound(await until_ended(hub, session, "pcm16_16000"), "i")) // 2 == 4_000
    await finish(task)


async def test_it_begins_with_what_down_still_holds(hub: Hub, session: Session, pool: DecoderPool) -> None:
    """A transcoder that is at work is told at once; one stream does not disturb the other."""
    task = asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run())
    said = told()
    await tell(hub, session, said[:20])
    await open_play(hub.redis, session, "pcm16_16000")
    await tell(hub, session, said[20:40], first=21)
    await open_play(hub.redis, session, "pcm16_48000")
    await open_play(hub.redis, session, "pcm16_16000")
    await tell(hub, session, said[40:], first=41)
    for codec in ("pcm16_16000", "pcm16_48000"):
        heard = await until_ended(hub, session, codec)
        assert len(heard) == len(said) + 1
        assert len(sound(heard, "i1")) // 2 == int(24_010 * sample_rate(codec) / 24_000 + 0.5)
    await finish(task)


@pytest.mark.parametrize("codec", PCM_CODECS)
async def test_a_killed_transcoder_leaves_no_seam(hub: Hub, session: Session, pool: DecoderPool, codec: PlayCodec) -> None:
    """Anywhere, again and again: to the bit what one that lived would have written."""
    said = told()
    calm = play.PlayEncoder(codec)
    undisturbed = [calm.encode(message) for message in said]
    await open_play(hub.redis, session, codec)
    await tell(hub, session, said)
    stream, chance, kills = session.keys.play(codec), random.Random(4), 0
    while len(written := await entries_of(hub, stream)) < len(said) + 2:
        task = asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run())
        wanted = min(written[-1].id.right + chance.randint(1, 6), len(said)) if len(written) > 1 else 0
        await until_written(hub, session, codec, EntryId(EPOCH, wanted))
        await finish(task)
        kills += 1
    assert kills > 8
    assert [entry.message for entry in written[2:]] == undisturbed
    assert [entry.id for entry in written] == [BIRTH, *(EntryId(EPOCH, n) for n in range(len(said) + 1))]


async def test_two_at_once(hub: Hub, session: Session, pool: DecoderPool) -> None:
    """One that was thought dead goes on: everything is there once."""
    said = told()
    calm = play.PlayEncoder("pcm16_16000")
    await open_play(hub.redis, session, "pcm16_16000")
    tasks = [asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run()) for _ in range(2)]
    await tell(hub, session, said)
    heard = await until_ended(hub, session, "pcm16_16000")
    assert [entry.message for entry in heard[1:]] == [calm.encode(message) for message in said]
    for task in tasks:
        await finish(task)


async def test_a_takeover_without_what_was_before(hub: Hub, session: Session, pool: DecoderPool) -> None:
    """What has arrived is gone from `down`: the part goes on, as long as it is, after a moment of silence."""
    said = answer(noise(24_000), "i", "r")
    calm = play.PlayEncoder("pcm16_16000")
    undisturbed = [calm.encode(message) for message in said]
    await open_play(hub.redis, session, "pcm16_16000")
    await tell(hub, session, said[:11])
    task = asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run())
    await until_written(hub, session, "pcm16_16000", EntryId(EPOCH, 11))
    await finish(task)
    await hub.redis.xtrim(session.keys.down, minid=f"{EPOCH}-11", approximate=False)
    await tell(hub, session, [*said[11:], down.Ended("x")], first=12)
    task = asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run())
    heard = [entry.message for entry in await until_ended(hub, session, "pcm16_16000")][1:-1]
    assert [len(m.audio) for m in heard if isinstance(m, down.Audio)] == [
        len(m.audio) for m in undisturbed if isinstance(m, down.Audio)
    ]
    assert heard[12:] == undisturbed[12:]
    await finish(task)


async def test_another_bridge_goes_on(hub: Hub, session: Session, pool: DecoderPool) -> None:
    """Its epoch is passed on; what was begun before has no end any more."""
    await open_play(hub.redis, session, "pcm16_16000")
    task = asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run())
    await tell(hub, session, answer(noise(24_000), "i", "r")[:5])
    await tell(hub, session, [*answer(noise(24_000), "i2", "r2"), down.Ended("x")], epoch=EPOCH + 1)
    heard = await until_ended(hub, session, "pcm16_16000")
    assert [entry.id for entry in heard if isinstance(entry.message, down.EpochTaken)] == [
        EntryId(EPOCH, 0),
        EntryId(EPOCH + 1, 0),
    ]
    assert len(sound(heard, "i2")) // 2 == 16_000
    await finish(task)


async def test_it_is_trimmed_by_what_has_arrived(
    hub: Hub, session: Session, pool: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And never further."""
    monkeypatch.setattr(play, "LOOK_BYTES", 3_000)
    await open_play(hub.redis, session, "pcm16_16000")
    task = asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run())
    await tell(hub, session, answer(noise(24_000), "i", "r"))
    await Sessions(hub.redis).set_cursor(session, "arrived", EntryId(EPOCH, 9))
    await tell(hub, session, [*answer(noise(24_000), "i2", "r2"), down.Ended("x")], first=24)
    await until_written(hub, session, "pcm16_16000", EntryId(EPOCH, 47))  # the last; what trims comes before it
    assert (await entries_of(hub, session.keys.play("pcm16_16000")))[0].id == EntryId(EPOCH, 10)
    await finish(task)


# ── opening, and the end ────────────────────────────────────────────────────────────────────────────────────────────


async def test_it_is_born_whole_and_a_transcoder_is_called(hub: Hub, session: Session) -> None:
    """With the life of the session; again changes nothing."""
    for _ in range(2):
        await open_play(hub.redis, session, "pcm16_16000")
    stream = session.keys.play("pcm16_16000")
    assert [entry.id for entry in await entries_of(hub, stream)] == [BIRTH]
    assert 0 < await hub.redis.pttl(stream) <= keys.SESSION_TTL_MS
    assert await hub.redis.xlen(keys.dispatch("transcoder")) == 1
    assert await open_plays(hub.redis, session) == ["pcm16_16000"]
    await hub.redis.pexpire(stream, 20_000)
    await Sessions(hub.redis).renew(session)
    assert await hub.redis.pttl(stream) > 20_000


async def test_no_key_outlives_the_session(hub: Hub, session: Session, pool: DecoderPool) -> None:
    """Its last words linger as those of `down` do; what is over cannot be opened."""
    await open_play(hub.redis, session, "pcm16_16000")
    task = asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run())
    await tell(hub, session, [down.Ended("x")])
    await until_ended(hub, session, "pcm16_16000")
    await Sessions(hub.redis).end(session, linger_ms=5_000)
    assert await asyncio.wait_for(task, LIMIT_S)
    left = {key.decode() async for key in hub.redis.scan_iter(match=f"parley:{{{session.sid}}}:*")}
    assert session.keys.play("pcm16_16000") in left
    assert all([0 < await hub.redis.pttl(key) <= 5_000 for key in left])
    await Sessions(hub.redis).end(session, linger_ms=0)
    assert [key async for key in hub.redis.scan_iter(match=f"parley:{{{session.sid}}}:*")] == []
    with pytest.raises(Over):
        await open_play(hub.redis, session, "pcm16_16000")


async def test_the_clients_end_is_not_the_answers(hub: Hub, session: Session, pool: DecoderPool) -> None:
    """After `End` in `up` the play stream goes on to the last word."""
    await open_play(hub.redis, session, "pcm16_16000")
    await hand_out(hub.redis, session, "transcoder")
    task = asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run())
    await tell(hub, session, [event("first")])
    await until_written(hub, session, "pcm16_16000", EntryId(EPOCH, 1))
    await say(hub, session, [End("client_left")])
    await asyncio.wait_for(until_made(hub, session, 2, BIRTH), LIMIT_S)
    await tell(hub, session, [event("later"), down.Ended("client_left")], first=2)
    assert len(await until_ended(hub, session, "pcm16_16000")) == 4
    await Sessions(hub.redis).end(session)
    assert await asyncio.wait_for(task, LIMIT_S)


async def test_a_session_that_is_removed(hub: Hub, session: Session, pool: DecoderPool) -> None:
    """Without a last word: the transcoder does not wait for one."""
    await open_play(hub.redis, session, "pcm16_16000")
    task = asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run())
    await tell(hub, session, [event("first")])
    await until_written(hub, session, "pcm16_16000", EntryId(EPOCH, 1))
    await Sessions(hub.redis).end(session, linger_ms=0)
    assert await asyncio.wait_for(task, LIMIT_S)


# ── coded ───────────────────────────────────────────────────────────────────────────────────────────────────────────

CODED: tuple[PlayCodec, ...] = ("opus", "aac")


def shape(message: down.DownMessage) -> object:
    """All that must not depend on who has coded it."""
    match message:
        case down.Coded(response, item, part, start_ms, _, packets, output):
            return response, item, part, start_ms, output, packets.position, packets.samples, len(packets.sizes)
        case down.ServerEvent(kind, body, _, tails):
            ends = [(tail.item, tail.part, tail.position, tail.padding, len(tail.sizes)) for tail in tails or ()]
            return kind, bytes(body), ends
    return message


@pytest.mark.parametrize("codec", CODED)
async def test_packets_have_the_ids_of_what_was_said(
    hub: Hub, session: Session, pool: DecoderPool, codec: PlayCodec
) -> None:
    """And its order; an interruption leaves nothing behind, and the next part begins with priming of its own."""
    await open_play(hub.redis, session, codec)
    task = asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run())
    await tell(hub, session, told())
    heard = await until_ended(hub, session, codec)
    whole = await entries_of(hub, session.keys.down)
    assert [entry.id for entry in heard] == [entry.id for entry in whole[1:]]
    first: dict[tuple[str, int], int] = {}
    for (_, message, _), (_, source, _) in zip(heard, whole[1:], strict=True):
        if isinstance(source, down.Audio):
            assert isinstance(message, down.Coded)
            assert (message.response, message.item, message.start_ms) == (source.response, source.item, source.start_ms)
            first.setdefault((message.item, message.part), message.packets.position)
        else:
            assert without_sound(message) == source
    assert first == dict.fromkeys(first, -156 if codec == "opus" else -1024)
    ends = {(tail.item, tail.part): tail for _, message, _ in heard for tail in getattr(message, "tails", None) or ()}
    assert set(ends) == set(first) - {("i3", 0)}
    for key, samples in ((("i1", 0), 24_010), (("i2", 0), 4_801), (("i4", 0), 9_007), (("i4", 1), 9_000)):
        end = ends[key]
        assert end.position + end.samples * len(end.sizes) - end.padding == samples
    await finish(task)


@pytest.mark.parametrize("codec", CODED)
async def test_a_killed_transcoder_loses_and_doubles_no_packet(
    hub: Hub, session: Session, pool: DecoderPool, codec: PlayCodec
) -> None:
    """Anywhere, again and again, and what was asked of the codec still holds."""
    said = told()
    asked = Coding(bit_rate=32_000, frame_ms=40)
    calm = play.PlayEncoder(codec, asked)
    undisturbed = [shape(calm.encode(message)) for message in said]
    await open_play(hub.redis, session, codec, asked)
    await open_play(hub.redis, session, codec, Coding(frame_ms=20))
    await tell(hub, session, said)
    stream, chance, kills = session.keys.play(codec), random.Random(4), 0
    while len(written := await entries_of(hub, stream)) < len(said) + 2:
        task = asyncio.create_task(SessionTranscoder(session, Resources(hub, pool)).run())
        wanted = min(written[-1].id.right + chance.randint(1, 6), len(said)) if len(written) > 1 else 0
        await until_written(hub, session, codec, EntryId(EPOCH, wanted))
        await finish(task)
        kills += 1
    assert kills > 8
    assert [shape(entry.message) for entry in written[2:]] == undisturbed
    assert [entry.id for entry in written] == [BIRTH, *(EntryId(EPOCH, n) for n in range(len(said) + 1))]


async def test_a_bit_rate_is_kept(hub: Hub, session: Session, pool: DecoderPool) -> None:
    """More is asked for, more comes."""
    sizes: list[int] = []
    for bit_rate in (12_000, 64_000):
        one = (await Sessions(hub.redis).create(turns.Opened(user=token_hex(4), door="ios"), "c")).session
        await open_play(hub.redis, one, "opus", Coding(bit_rate))
        task = asyncio.create_task(SessionTranscoder(one, Resources(hub, pool)).run())
        await tell(hub, one, [*answer(speech("speech_espeak", 24_000, "mono").tobytes(), "i", "r"), down.Ended("x")])
        heard = await until_ended(hub, one, "opus")
        sizes.append(sum(len(entry.message.audio) for entry in heard if isinstance(entry.message, down.Coded)))
        await finish(task)
    assert sizes[0] * 3 < sizes[1]
