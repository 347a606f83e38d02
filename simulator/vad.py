"""PURE. Where speech starts and stops, from energy alone, in a quiet room or a noisy one.

Audio is cut into frames of 20 ms from the first byte on, however it was split on its way here. A frame is *loud* when it
stands out from the noise floor, which follows what is not speech: down at once, up slowly.

    quiet ──ONSET_FRAMES loud in a row──▶ speaking ──silence_duration_ms without RESUME_FRAMES loud in a row──▶ quiet

Time is how much audio has come, in milliseconds since the session started; no clock is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from simulator.audio_format import AudioFormat, decode

FRAME_MS = 20
ONSET_FRAMES = 3
"""60 ms: a click or a key stroke is shorter, the shortest word is longer."""
RESUME_FRAMES = 2
"""Within a turn, less is enough to go on."""
NO_BREATH_FRAMES = 10_000 // FRAME_MS
"""Nobody speaks for ten seconds without 20 ms of pause: what has none is a machine that was switched on, and is floor."""

_FIRST_FLOOR_DB = -42.0
"""Before anything was heard, a room may be this loud and still be silent; a voice at a phone is 15 dB above."""
_LOWEST_FLOOR_DB = -65.0
_DIGITAL_SILENCE_DB = -96.0
_FALL = 0.2
_RISE = 0.05
"""Part of the way the floor goes in one frame, downwards and upwards."""
_HYSTERESIS_DB = 3.0
"""Once speaking, frames this much weaker still count."""


@dataclass(frozen=True, slots=True)
class Started:
    at_ms: float
    """where the first loud frame begins, without padding"""


@dataclass(frozen=True, slots=True)
class Stopped:
    at_ms: float
    """where the last frame of the silence ends"""


Mark: TypeAlias = Started | Stopped


@dataclass(frozen=True, slots=True)
class Sensitivity:
    threshold: float
    """0 hears whispers and fans, 1 only who speaks loudly into the microphone"""
    silence_duration_ms: int

    @property
    def margin_db(self) -> float:
        """How far speech stands above the noise floor."""
        return 3.0 + 12.0 * self.threshold

    @property
    def gate_db(self) -> float:
        """What is below this is never speech, however silent the room."""
        return -60.0 + 30.0 * self.threshold


class Vad:
    """Call `feed` with all audio in order; it returns the marks that audio completes."""

    def __init__(self, sensitivity: Sensitivity, audio_format: AudioFormat, start_ms: float = 0.0) -> None:
        self.sensitivity = sensitivity
        """May be replaced at any time; holds from the next frame on."""
        self._format = audio_format
        self._frame_bytes = FRAME_MS * audio_format.bytes_per_ms
        self._carry = b""
        self._now_ms = start_ms
        self._floor_db = _FIRST_FLOOR_DB
        self._frame: Callable[[float], Mark | None] = self._quiet
        self._loud = 0
        """loud frames in a row"""
        self._silent = 0
        """frames since speech was last heard"""
        self._weakest_db = math.inf
        self._unbroken = 0
        """frames since the last pause, for NO_BREATH_FRAMES"""

    @property
    def speaking(self) -> bool:
        return self._frame != self._quiet

    def feed(self, audio: bytes) -> Iterator[Mark]:
        audio = self._carry + audio if self._carry else audio
        whole = len(audio) - len(audio) % self._frame_bytes
        self._carry = audio[whole:]
        for level_db in self._levels(audio[:whole]):
            self._now_ms += FRAME_MS
            if (mark := self._frame(level_db)) is not None:
                yield mark

    def restart(self, at_ms: float) -> None:
        """The turn was ended by somebody else: frames begin anew there, and the noise floor is kept."""
        self._carry = b""
        self._now_ms = at_ms
        self._rest()

    def _rest(self) -> None:
        self._frame = self._quiet
        self._loud = self._silent = 0

    def _levels(self, frames: bytes) -> list[float]:
        """Each frame's power without its direct current, in dB of full scale."""
        if not frames:
            return []
        samples = decode(frames, self._format).astype(np.float64).reshape(-1, self._format.sample_rate // 1000 * FRAME_MS)
        power = samples.var(axis=1) / 32768.0**2
        levels: list[float] = (10.0 * np.log10(np.maximum(power, 10.0 ** (_DIGITAL_SILENCE_DB / 10.0)))).tolist()
        return levels

    def _is_loud(self, level_db: float, ease_db: float = 0.0) -> bool:
        floor_db = self._floor_db + self.sensitivity.margin_db
        return level_db > max(floor_db, self.sensitivity.gate_db) - ease_db

    def _quiet(self, level_db: float) -> Mark | None:
        if not self._is_loud(level_db):
            self._loud = 0
            self._follow(level_db)
            return None
        self._loud += 1
        if self._loud < ONSET_FRAMES:
            return None
        self._frame = self._speaking
        self._silent = self._unbroken = 0
        self._weakest_db = math.inf
        return Started(self._now_ms - ONSET_FRAMES * FRAME_MS)

    def _speaking(self, level_db: float) -> Mark | None:
        if self._is_loud(level_db, _HYSTERESIS_DB):
            self._loud += 1
            if self._loud >= RESUME_FRAMES:
                self._silent = 0
            self._notice_machine(level_db)
        else:
            self._loud = self._unbroken = 0
            self._weakest_db = math.inf
            self._silent += 1
            self._follow(level_db)
        if self._silent * FRAME_MS < self.sensitivity.silence_duration_ms:
            return None
        self._rest()
        return Stopped(self._now_ms)

    def _follow(self, level_db: float) -> None:
        step = _FALL if level_db < self._floor_db else _RISE
        self._floor_db = max(_LOWEST_FLOOR_DB, self._floor_db + step * (level_db - self._floor_db))

    def _notice_machine(self, level_db: float) -> None:
        self._weakest_db = min(self._weakest_db, level_db)
        self._unbroken += 1
        if self._unbroken >= NO_BREATH_FRAMES:
            self._floor_db = self._weakest_db
            self._unbroken = 0
            self._weakest_db = math.inf
