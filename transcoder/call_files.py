"""The files of one recorded call. All of it blocks, and raises OSError.

  <recordings>/calls/<sid>/about.json            whose call it is, and how far the recording is
                           events.jsonl           what happened, and when (`transcoder.timeline`)
                           audio.opus | audio.wav  left: the user, right: the model, as it was heard
                           raw/                   until these are there: the tracks as they come

Each byte of a track has its place, whoever writes it: a worker that goes on where another one died, or that does not know
yet that it is relieved, writes the same again. `state.json` says up to where all is written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

import msgspec

from transcoder.track_lines import AnyLine

CALLS = "calls"

TrackName = Literal["pcm", "down", "heard"]
"""The stream that it comes from."""

BYTES_PER_SAMPLE = 2


class About(msgspec.Struct, omit_defaults=True):
    id: str
    user: str
    door: str
    status: Literal["recording", "ready", "empty"] = "recording"
    begins_ms: int = 0
    seconds: float = 0.0
    format: Literal["opus", "wav"] | None = None
    ended_ms: int = 0


class Reached(msgspec.Struct):
    """How far a track is written."""

    last: str = "0-0"
    """entry of the stream"""
    samples: int = 0
    log_bytes: int = 0


class Track:
    """What is still to be written of one."""

    def __init__(self, name: TrackName, reached: Reached) -> None:
        self.name = name
        self.reached = reached
        """when all that waits is written"""
        self._lines: list[bytes] = []
        self._lines_at = reached.log_bytes
        self._audio: list[tuple[int, bytes]] = []

    def add(self, entry: str, line: AnyLine | None = None, audio: bytes = b"", *, kept: bool = True) -> None:
        """`kept`: False leaves a hole where the audio would be."""
        self.reached.last = entry
        if line is not None:
            encoded = msgspec.json.encode(line) + b"\n"
            self._lines.append(encoded)
            self.reached.log_bytes += len(encoded)
        if kept and audio:
            self._audio.append((self.reached.samples * BYTES_PER_SAMPLE, audio))
        self.reached.samples += len(audio) // BYTES_PER_SAMPLE

    def take(self) -> tuple[int, bytes, list[tuple[int, bytes]]]:
        """All that waits: where its lines belong, these, and the audio."""
        at, lines, audio = self._lines_at, b"".join(self._lines), self._audio
        self._lines, self._audio, self._lines_at = [], [], self.reached.log_bytes
        return at, lines, audio


class CallFiles:
    def __init__(self, recordings: Path, sid: str) -> None:
        self.folder = recordings / CALLS / sid
        self._raw = self.folder / "raw"

    def begin(self, about: About) -> dict[TrackName, Reached]:
        """Make the folder, if it is not there; how far whoever was here before has come."""
        self._raw.mkdir(parents=True, exist_ok=True, mode=0o750)
        if self.about() is None:
            self.keep_about(about)
        try:
            reached = msgspec.json.decode((self._raw / "state.json").read_bytes(), type=dict[str, Reached])
        except FileNotFoundError:
            reached = {}
        return {name: reached.get(name, Reached()) for name in get_args(TrackName)}

    def write(self, name: TrackName, at: int, lines: bytes, audio: list[tuple[int, bytes]]) -> None:
        if lines:
            _write(self._raw / f"{name}.jsonl", [(at, lines)])
        if audio:
            _write(self._raw / f"{name}.s16", audio)

    def keep_state(self, reached: dict[TrackName, Reached]) -> None:
        _replace(self._raw / "state.json", msgspec.json.encode(reached))

    def state_age(self, now_s: float) -> float:
        """Seconds since somebody has written."""
        try:
            return now_s - (self._raw / "state.json").stat().st_mtime
        except FileNotFoundError:
            return now_s - self.folder.stat().st_mtime

    @property
    def is_raw(self) -> bool:
        return self._raw.exists()

    def lines(self) -> Iterator[AnyLine]:
        """Of all tracks, each in its order."""
        decode = msgspec.json.Decoder(AnyLine).decode
        for name in get_args(TrackName):
            with suppress(FileNotFoundError), (self._raw / f"{name}.jsonl").open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):  # else it was cut off: it is not said to be written
                        yield decode(line)

    def audio(self, name: TrackName) -> Path:
        return self._raw / f"{name}.s16"

    def about(self) -> About | None:
        try:
            return msgspec.json.decode((self.folder / "about.json").read_bytes(), type=About)
        except FileNotFoundError:
            return None

    def keep_about(self, about: About) -> None:
        _replace(self.folder / "about.json", msgspec.json.encode(about))

    def forget_raw(self) -> None:
        shutil.rmtree(self._raw, ignore_errors=True)

    def forget(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _write(path: Path, blocks: list[tuple[int, bytes]]) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        for position, data in blocks:
            view = memoryview(data)
            while view:
                written = os.pwrite(file, view, position)
                view, position = view[written:], position + written
    finally:
        os.close(file)


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    with os.fdopen(file, "wb") as out:
        out.write(data)
    part.replace(path)
