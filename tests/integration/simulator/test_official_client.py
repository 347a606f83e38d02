from __future__ import annotations

import base64

from openai import AsyncOpenAI

from simulator.options import Options
from simulator.orders import speech
from simulator.server import running


async def test_official_client() -> None:
    """the official SDK, with nothing but its base URL changed, has a spoken turn."""
    async with (
        running(Options(speed=0, api_key="sk-test")) as server,
        AsyncOpenAI(api_key="sk-test", base_url=server.base_url) as client,
        client.realtime.connect(model="gpt-realtime-2.1") as connection,
    ):
        await connection.session.update(session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
        await connection.input_audio_buffer.append(audio=speech(0.5))
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        heard, transcript = b"", ""
        async for event in connection:
            assert event.type != "error", event
            if event.type == "response.output_audio.delta":
                heard += base64.b64decode(event.delta)
            elif event.type == "response.output_audio_transcript.done":
                transcript = event.transcript
            elif event.type == "response.done":
                break
    assert heard == base64.b64decode(speech(0.5))
    assert transcript == "I heard 0.500 seconds (12000 samples)."
