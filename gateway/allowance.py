"""PURE. How much speech a client may send in how much time.

PCM is taken as it comes, and what comes goes to a model that is paid by the second. Whoever talks live never notices this;
one who sends faster than anybody talks has two minutes in hand, and after that what real time gives.
"""

from __future__ import annotations

from gateway.errors import TooFast
from streams import pcm

CAPACITY_S = 120.0
"""Seconds of speech in hand at most; as many as the transcoder gives a session that sends files."""


def seconds_of(audio: bytes) -> float:
    """Of PCM16 24 kHz mono."""
    return len(audio) / (pcm.SAMPLE_RATE * pcm.BYTES_PER_SAMPLE)


class Allowance:
    """One session's. It is full at first and gains a second a second; `now` is a monotonic clock in seconds."""

    def __init__(self, now: float) -> None:
        self._level_s = CAPACITY_S
        self._at = now

    def take(self, seconds: float, now: float) -> None:
        """Spend them, all or nothing. Raises TooFast, which says how long to wait."""
        level_s = self._level(now)
        if seconds > level_s:
            raise TooFast(seconds - level_s if seconds <= CAPACITY_S else None, CAPACITY_S)
        self._level_s = level_s - seconds

    def wait_s(self, seconds: float, now: float) -> float:
        """How long until they may be spent; for those who can make their client wait. At most CAPACITY_S at once."""
        return max(0.0, min(seconds, CAPACITY_S) - self._level(now))

    def is_full(self, now: float) -> bool:
        """A new one would be no different."""
        return self._level(now) >= CAPACITY_S

    def _level(self, now: float) -> float:
        if now > self._at:
            self._level_s = min(CAPACITY_S, self._level_s + now - self._at)
            self._at = now
        return self._level_s
