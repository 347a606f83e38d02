"""Clients whose speech is compressed: the React Native app's M4A files, a browser's MediaRecorder at the sibling door."""

from __future__ import annotations

import io
import re
from fractions import Fraction
from typing import Any

import av
import msgspec
import numpy as np
import pybase64
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from cli.load import sound
from cli.load.alignment import Frames, Listener, Seam
from cli.load.coding import TALK
from cli.load.doors.door import Door, SocketDoor
from cli.load.doors.mobile import Mobile

_MISSING = re.compile(r"([\d.]+) s of what you sent were damaged")


class Coded(Door):
    """What it says no codec makes unlike itself, and what it hears is laid beside that."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._listener, self._frames = Listener(self.ledger.session), Frames(self.ledger.session)
        self._half, self._seen = b"", 1
        self.ledger.is_coded = True

    def speech(self, first: int, count: int) -> bytes:
        self.ledger.spoken = max(self.ledger.spoken, first + count)
        return sound.pcm(self.ledger.session, first, count)

    def hear(self, pcm: bytes) -> None:
        self.last_sound = self.now()
        pcm = self._half + pcm
        whole = len(pcm) // 2 * 2
        self._half = pcm[whole:]
        self._listener.feed(sound.samples(pcm[:whole]), self.ledger.spoken)
        self._note()

    def _note(self) -> None:
        stretches, now = self._listener.stretches, self.now()
        if frames := self._frames.fresh(stretches):
            self.last_heard = now
            self.ledger.hear(frames, now)
        for place in range(self._seen, len(stretches)):
            self.ledger.seams_down.append((now, Seam.of(stretches[place - 1], stretches[place])))
        self._seen = max(self._seen, len(stretches))

    async def close(self) -> None:
        await super().close()
        if self.ledger.spoken:
            self._listener.finish()
            self._note()
        self.ledger.unknown_down = self._listener.unknown


class MobileM4a(Coded, Mobile):
    """A whole file a turn."""

    query = ""

    def recording(self, first: int, count: int) -> bytes:
        return encode_m4a(self.speech(first, count))


class Web(Coded, SocketDoor):
    """WebM/Opus, chunk by chunk; the recorder goes on while the line is broken, and what it gives then is lost."""

    speaks_silence = goes_on = is_told_in_turn = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._recorder = Recorder()

    @property
    def url(self) -> str:
        return f"{self.ws_url}/ws/load-{self.ledger.session}"

    async def say(self, first: int, count: int) -> None:
        self.ledger.say(first, count, self.now())
        await self._send(self.speech(first, count))

    async def be_silent(self, frames: int) -> None:
        await self._send(bytes(TALK.frame_bytes * frames))

    async def _send(self, pcm: bytes) -> None:
        self.ledger.recorded.append((self.now(), len(pcm) // TALK.frame_bytes))
        if chunk := self._recorder.feed(pcm):
            message = {"type": "audio", "data": pybase64.b64encode_as_string(chunk)}
            await self._socket.send_str(msgspec.json.encode(message).decode())

    async def receive(self, text: str) -> None:
        said = msgspec.json.decode(text)
        match said["type"]:
            case "audio_response":
                self.hear(pybase64.b64decode(said["audio"]))
            case "error":
                self.trouble(said["message"])
                if told := _MISSING.search(said["message"]):
                    self.announce(said["message"])
                    self.ledger.announced_ms += 1000 * float(told[1])
            case _:
                pass


class Recorder:
    """A MediaRecorder: PCM in, the next bytes of a WebM file out."""

    def __init__(self) -> None:
        self._file = io.BytesIO()
        self._output = av.open(self._file, "w", format="webm", options={"live": "1", "cluster_time_limit": "60"})
        stream = self._output.add_stream("libopus", rate=sound.RATE, layout="mono")
        assert isinstance(stream, AudioStream)
        stream.bit_rate = 32_000
        self._stream, self._samples = stream, 0

    def feed(self, pcm: bytes) -> bytes:
        """What has become whole with this."""
        self._output.mux(self._stream.encode(_frame(pcm, self._samples)))
        self._samples += len(pcm) // 2
        done = self._file.getvalue()
        self._file.seek(0)
        self._file.truncate()
        return done


def encode_m4a(pcm: bytes) -> bytes:
    """AAC-LC at 24 kHz, the index at the end, with priming and an edit list."""
    file = io.BytesIO()
    with av.open(file, "w", format="ipod") as output:
        stream = output.add_stream("aac", rate=sound.RATE, layout="mono")
        assert isinstance(stream, AudioStream)
        stream.bit_rate = 64_000
        for at in range(0, len(pcm), 2_048):
            output.mux(stream.encode(_frame(pcm[at : at + 2_048], at // 2)))
        output.mux(stream.encode(None))
    return file.getvalue()


def _frame(pcm: bytes, at: int) -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2").reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = sound.RATE, at, Fraction(1, sound.RATE)
    return frame
