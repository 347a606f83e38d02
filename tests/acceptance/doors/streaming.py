"""A browser's MediaRecorder in front of the openai door: WebM with Opus, chunk by chunk."""

from __future__ import annotations

import numpy as np

from tests.acceptance.doors.caller import SILENCE, frames
from tests.acceptance.doors.openai import OpenAiCaller
from tests.media.make_media import encode

CHUNK_BYTES = 500
"""Some 60 ms."""


class StreamingCaller(OpenAiCaller):
    """Each thing that is said is a recording of its own, in binary frames."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._url += "&input=stream"

    async def speak(self, pcm: bytes) -> None:
        samples = np.frombuffer(pcm + SILENCE, "<i2")
        for chunk in frames(encode(samples, rate=24_000, codec="libopus", container="webm"), CHUNK_BYTES):
            await self._socket.send_bytes(chunk)
