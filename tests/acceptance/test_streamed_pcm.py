"""A call at 16 kHz both ways, as a door would carry it, through the transcoder, the bridge and the model's stand-in."""

from __future__ import annotations

import asyncio

import msgspec

from gateway.backend import open_backend
from gateway.downlink import Downlink
from streams import down, turns, up
from streams.attach import Attachment
from streams.dispatch import hand_out
from streams.ids import BIRTH, EntryId
from streams.messages import End
from streams.play import open_play
from streams.producer import Marked, Producer
from tests.acceptance.conftest import Stack
from tests.media.make_media import as_samples, correlation, speech
from transcoder.continuous import ContinuousResampler

CHUNK_BYTES = 640
"""20 ms"""


async def test_a_call_at_16_khz(stack: Stack) -> None:
    """Speech goes up in small pieces, is heard by the model, and its answer comes down whole at the rate of the call."""
    said = speech("speech_jfk", 16_000, "mono").tobytes()[: 3 * 32_000] + bytes(2 * 32_000)
    async with open_backend(stack.redis_url) as backend:
        opened = turns.Opened(user="acceptance", door="ios", turn_mode="server_vad")
        session = (await backend.sessions.create(opened, "16-khz", source="pcm16 16000")).session
        attachment = Attachment(backend.redis, session, backend.name)
        assert await attachment.attach(take=True)
        await hand_out(backend.redis, session, "bridge")
        await open_play(backend.redis, session, "pcm16_16000")
        uplink = Producer(backend.writer, session.keys.up, Marked("caller"))
        for at in range(0, len(said), CHUNK_BYTES):
            uplink.append(up.Audio(said[at : at + CHUNK_BYTES]))
        await uplink.flush()
        played = await asyncio.wait_for(_answer(Downlink(backend, session, codec="pcm16_16000"), 16_000), 40)
        at_24k = await asyncio.wait_for(_answer(Downlink(backend, session), 24_000), 40)
        uplink.append(End("client_left"))
        await uplink.flush()
    assert len(at_24k) > 24_000
    resampler = ContinuousResampler(24_000, 16_000)
    expected = resampler.feed(at_24k) + resampler.flush()
    assert len(played) == len(expected)
    assert correlation(as_samples(played), as_samples(expected)) > 0.999


async def _answer(downlink: Downlink, rate: int) -> bytes:
    """The sound of the first answer that is complete."""
    sound = b""
    last: EntryId = BIRTH
    async for entry in downlink.entries():
        assert entry.id > last
        last = entry.id
        match entry.message:
            case down.Audio(audio=audio, start_ms=start_ms):
                assert abs(start_ms - len(sound) * 500 / rate) < 5
                sound += audio
            case down.ServerEvent(type=kind, tail=tail, body=body):
                sound += tail or b""
                assert tail is None or msgspec.json.decode(body)["type"].endswith(".done")
                if kind == "response.done":
                    return sound
    raise AssertionError("the call ended without an answer")
