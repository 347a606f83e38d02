"""A recorded call's tracks → one stereo file, and the log of events beside it. It blocks; a thread does it.

Nothing of the raw tracks goes before all of it is there under its name, so it may be done again at any time, by anybody.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import msgspec
import numpy as np
from av import AudioFrame
from numpy.typing import NDArray

from transcoder.call_files import About, CallFiles
from transcoder.decoded import SAMPLE_RATE
from transcoder.timeline import Placement, Timeline, timeline

Format = Literal["opus", "wav"]

PIECE = SAMPLE_RATE * 5
"""Samples that are held in memory at a time, of each channel."""

BIT_RATE = 64_000
"""Of both voices together; Opus hears no difference in speech from here on."""

Samples = NDArray[np.int16]


def render(files: CallFiles, format_: Format, ended_ms: int) -> About | None:
    """Make the recording, and forget the tracks. None: there is no such call. Raises OSError."""
    about = files.about()
    if about is None:
        return None
    found = timeline(files.lines())
    if found is None or not (found.user or found.model):
        about = msgspec.structs.replace(about, status="empty", ended_ms=ended_ms)
    else:
        part = files.folder / f"audio.{os.getpid()}.part"
        pieces = stereo(found, files.audio("pcm"), files.audio("down"))
        (write_wav if format_ == "wav" else write_opus)(part, pieces)
        part.replace(files.folder / f"audio.{format_}")
        log = files.folder / f"events.{os.getpid()}.part"
        log.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in found.log))
        log.replace(files.folder / "events.jsonl")
        seconds = round(found.samples / SAMPLE_RATE, 3)
        about = msgspec.structs.replace(
            about, status="ready", begins_ms=found.begins_ms, seconds=seconds, format=format_, ended_ms=ended_ms
        )
    files.keep_about(about)
    files.forget_raw()
    return about


def stereo(line: Timeline, user: Path, model: Path) -> Iterator[Samples]:
    """The recording, piece by piece: rows of left and right."""
    channels = [(_Cursor(line.user), _samples(user)), (_Cursor(line.model), _samples(model))]
    for at in range(0, line.samples, PIECE):
        piece = np.zeros((min(PIECE, line.samples - at), 2), np.int16)
        for channel, (cursor, source) in enumerate(channels):
            for each in cursor.over(at, len(piece)):
                begin, end = max(each.at, at), min(each.at + each.samples, at + len(piece))
                # Where nothing was written, or not yet when a worker died, there is silence.
                sound = source[each.offset + begin - each.at : each.offset + end - each.at]
                piece[begin - at : begin - at + len(sound), channel] = sound
        yield piece


class _Cursor:
    """Finds what is heard in a piece: those that begin before it ends, and have not ended before it begins."""

    def __init__(self, placements: Sequence[Placement]) -> None:
        self._placements = sorted(placements, key=lambda each: each.at)
        self._open: list[Placement] = []
        self._next = 0

    def over(self, at: int, samples: int) -> list[Placement]:
        while self._next < len(self._placements) and self._placements[self._next].at < at + samples:
            self._open.append(self._placements[self._next])
            self._next += 1
        self._open = [each for each in self._open if each.at + each.samples > at]
        return self._open


def _samples(path: Path) -> Samples:
    if not path.exists() or path.stat().st_size < 2:
        return np.zeros(0, np.int16)
    return np.memmap(path, "<i2", "r", shape=(path.stat().st_size // 2,))


def write_wav(path: Path, pieces: Iterator[Samples]) -> None:
    """PCM16, 24 kHz."""
    with path.open("wb") as file:
        file.write(bytes(44))
        for piece in pieces:
            file.write(piece.astype("<i2").tobytes())
        size = min(file.tell() - 44, 0xFFFFFFFF - 36)
        head = struct.pack(
            "<4sI8sIHHIIHH4sI",
            b"RIFF", 36 + size, b"WAVEfmt ", 16, 1, 2, SAMPLE_RATE, SAMPLE_RATE * 4, 4, 16, b"data", size,
        )  # fmt: skip
        file.seek(0)
        file.write(head)


def write_opus(path: Path, pieces: Iterator[Samples]) -> None:
    """In Ogg."""
    with av.open(str(path), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=SAMPLE_RATE, layout="stereo", options={"application": "audio"})
        stream.bit_rate = BIT_RATE
        stream.time_base = Fraction(1, SAMPLE_RATE)
        at = 0
        for piece in pieces:
            frame = AudioFrame.from_ndarray(np.ascontiguousarray(piece).reshape(1, -1), format="s16", layout="stereo")
            frame.sample_rate, frame.time_base, frame.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), at
            at += len(piece)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
