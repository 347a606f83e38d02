"""Clients that also hear what is compressed: answers in AAC or Opus, each a file that grows as it comes."""

from __future__ import annotations

import io
from abc import abstractmethod
from typing import Any, ClassVar

import av
import msgspec
import pybase64
from av.audio.resampler import AudioResampler
from av.error import FFmpegError

from cli.load.doors.coded import MobileM4a, Web
from cli.load.doors.door import SocketDoor
from cli.load.sound import RATE

_FIRST = 2
"""Flag of a page of Ogg: a stream begins."""
_PAUSE = bytes(RATE // 10 * 2)
"""Of silence, behind each file: what a codec holds back of one is nothing that lies before the next."""


class _Packed(SocketDoor):
    """A file ends with `text_response`, or where another one begins. After a redial the rest of an answer is one of its
    own."""

    container: ClassVar[str]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._file, self._heard_bytes = b"", 0

    async def dial(self) -> None:
        self._end_file()
        await super().dial()

    async def receive(self, text: str) -> None:
        said = msgspec.json.decode(text)
        match said["type"]:
            case "audio_response":
                data = pybase64.b64decode(said["audio"])
                if data[:4] == b"OggS" and data[5] & _FIRST:
                    self._end_file()
                self._file += data
                pcm = decoded(self._file, self.container)
                fresh, self._heard_bytes = pcm[self._heard_bytes :], max(len(pcm), self._heard_bytes)
                self.hear(fresh)
            case "text_response":
                self._end_file()
            case _:
                await self.other(text)

    @abstractmethod
    async def other(self, text: str) -> None:
        """What is no answer."""

    def _end_file(self) -> None:
        if self._file:
            self.hear(_PAUSE)
        self._file, self._heard_bytes = b"", 0


class MobileAac(_Packed, MobileM4a):
    """M4A files up, AAC down."""

    query = "?audio_format=aac"
    container = "aac"

    async def other(self, text: str) -> None:
        await MobileM4a.receive(self, text)


class WebOpus(_Packed, Web):
    """Opus both ways."""

    container = "ogg"

    async def other(self, text: str) -> None:
        await Web.receive(self, text)

    @property
    def url(self) -> str:
        return f"{super().url}?audio_format=opus"


def decoded(file: bytes, container: str) -> bytes:
    """PCM16 at 24 kHz of as much as there is."""
    resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
    pcm = bytearray()
    try:
        with av.open(io.BytesIO(file), "r", format=container) as source:
            for frame in source.decode(audio=0):
                for made in resampler.resample(frame):
                    pcm += made.to_ndarray().tobytes()
    except FFmpegError:
        pass  # it ends in the middle of something
    return bytes(pcm)
