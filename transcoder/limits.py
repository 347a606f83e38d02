"""PURE. How much a client may send.

Bytes say little about audio: 2 MB of coded silence are hours of PCM. So the limit that matters counts seconds of
*decoded* audio, and the decoder stops as soon as it is passed.
"""

from __future__ import annotations

MAX_FILE_BYTES = 16 * 1024 * 1024
"""A whole file. Two minutes of AAC at 320 kbit/s are 5 MB, of lossless 44.1 kHz stereo some 12 MB."""

MAX_CHANNELS = 8
"""More is no recording of a voice; up to it (7.1) is mixed down."""

MIN_SAMPLE_RATE = 7_350
MAX_SAMPLE_RATE = 96_000
"""Hertz: the range of AAC's own table of rates."""

MAX_DECODED_S = 120.0
"""Seconds of audio in hand at most: the capacity of the bucket."""


class DecodedSeconds:
    """A token bucket of decoded seconds, refilled in real time: who talks live never notices it.

    It holds at most `capacity_s`, is full at first, and gains one second a second. `now` is any monotonic clock in
    seconds; a clock that steps back adds nothing.
    """

    def __init__(self, now: float, capacity_s: float = MAX_DECODED_S) -> None:
        if capacity_s <= 0:
            raise ValueError(f"a bucket holds something, not {capacity_s} s")
        self.capacity_s = capacity_s
        self._level_s = capacity_s
        self._at = now

    def available(self, now: float) -> float:
        """Seconds of audio that may be decoded now: what to give the decoder as `max_seconds`."""
        if now > self._at:
            self._level_s = min(self.capacity_s, self._level_s + (now - self._at))
            self._at = now
        return self._level_s

    def take(self, seconds: float, now: float) -> bool:
        """Spend `seconds`, all or nothing; False when there is not so much."""
        if seconds < 0:
            raise ValueError(f"seconds are spent, not {seconds}")
        if seconds > self.available(now):
            return False
        self._level_s -= seconds
        return True

    def wait_s(self, seconds: float, now: float) -> float | None:
        """How long until `seconds` may be spent: 0.0 for now, None for never (more than the capacity)."""
        if seconds > self.capacity_s:
            return None
        return max(0.0, seconds - self.available(now))
