"""A transcoder dies in the middle of an answer: its client hears a pause, and each packet once."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pybase64

from runtime.embedded import EmbeddedServer
from tests.contract.doors.coded_stage import played, transcoding
from tests.contract.doors.stage import Stage
from tests.media.make_media import as_samples, correlation, lag, speech

SPEECH = speech("speech_jfk", 24_000, "mono").astype("<i2").tobytes()[: 4 * 48_000]
HALF = 20


async def test_another_one_goes_on_in_the_same_file(stage: Stage, redis_server: EmbeddedServer) -> None:
    """One Ogg stream, as long as what was said, with what was said in its place."""
    pieces: list[bytes] = []
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        await first.enter_async_context(transcoding(redis_server))
        client = await stack.enter_async_context(stage.client("/ws-mobile/ann?audio_format=opus"))
        bridge = await stage.bridge(await stage.session())
        for n, at in enumerate(range(0, len(SPEECH), 4_800)):
            if n == HALF:
                pieces += [await client.hear_audio() for _ in range(HALF)]
                await first.aclose()
            await bridge.say_audio(SPEECH[at : at + 4_800], start_ms=at // 48)
        await bridge.say_event("response.output_audio.done", response_id="r1", item_id="i1", content_index=0, output_index=0)
        await bridge.say_done()
        await stack.enter_async_context(transcoding(redis_server))
        while (heard := await client.hear())["type"] == "audio_response":
            pieces.append(pybase64.b64decode(heard["audio"]))
        assert heard["type"] == "text_response"
    file = b"".join(pieces)
    assert file.count(b"OpusHead") == 1
    pcm = as_samples(played(file, "ogg", 48_000))[::2]
    assert len(pcm) == len(SPEECH) // 2
    assert abs(lag(pcm, as_samples(SPEECH))) <= 1
    assert correlation(pcm, as_samples(SPEECH)) >= 0.95
