"""Two ways into `pcm`: what went straight must not stop the transcoder."""

from __future__ import annotations

import asyncio
from secrets import token_hex

from streams import pcm, turns, up
from streams.consumer import read
from streams.hub import Hub
from streams.ids import next_left
from streams.messages import End
from streams.producer import Marked, Producer, open_left
from streams.sessions import Sessions, now_ms
from tests.media.make_media import make_clip
from transcoder.sandbox import DecoderPool
from transcoder.worker import Resources, SessionTranscoder


async def test_a_recording_after_declared_pcm_is_transcoded(hub: Hub) -> None:
    """The gateway writes PCM straight to `pcm`, then opens a gen above it in `up` and sends a recording there."""
    session = (await Sessions(hub.redis).create(turns.Opened(user="u", door="mobile"), "u")).session
    straight = Producer(hub.writer, session.keys.pcm, Marked(token_hex(4)))
    last = await straight.append(pcm.Audio(bytes(48_000)))
    await open_left(hub.writer, session.keys.up, up.GenOpened(source="files"), next_left(last, now_ms()))
    through = Producer(hub.writer, session.keys.up, Marked(token_hex(4)))
    await through.append(up.File(make_clip(samples=22_050).data, arrived_ms=1))
    await through.append(End("x"))
    async with DecoderPool(1) as pool:
        await asyncio.wait_for(SessionTranscoder(session, Resources(hub, pool)).run(), 20)
    kinds = [type(entry.message).__name__ for entry in await read(hub.redis, session.keys.pcm, pcm.decoder)]
    assert kinds[-3:] == ["Audio", "UtteranceEnd", "End"]
