"""PURE. Is a client that sends whole recordings speaking in utterances, or in slices of one speech?

A push-to-talk client sends a recording an utterance. Other builds cut an endless recording every second. The two are told
apart by time alone: a slice begins (arrival less length) when the one before it arrived.
"""

from __future__ import annotations

from enum import Enum

CONTIGUOUS_MS = 300
"""How far a start may lie from the arrival before, and the two still be one recording: scheduling and network jitter."""

SLICES_AFTER = 2
"""So many recordings in a row that continue the one before, and the client is taken to be cutting slices."""


ALIKE = 1.2
"""Slices are cut by a clock: none is longer than the first by more than this factor, and only the last may be shorter.
Without this, recordings sent with pauses of chance would be taken for slices now and then."""


class Kind(Enum):
    """What a recording is, seen from the ones before it."""

    UTTERANCE = "utterance"
    """a turn of its own"""
    CONTINUES = "continues"
    """goes on where the last one ended; may still be chance"""
    SLICE = "slice"
    """one of a series"""


class Slices:
    """Watches the recordings of one session."""

    def __init__(self) -> None:
        self._last_arrival_ms: int | None = None
        self._in_a_row = 0
        self._cut_ms = 0
        """how long the slices of this series are, by its first"""
        self._last_length_ms = 0

    def arrived(self, arrived_ms: int, length_ms: int) -> Kind:
        """A recording of this length was there at this moment (both milliseconds)."""
        start_ms = arrived_ms - length_ms
        follows = (
            self._last_arrival_ms is not None
            and abs(start_ms - self._last_arrival_ms) <= CONTIGUOUS_MS
            and length_ms <= ALIKE * self._cut_ms
            and self._last_length_ms * ALIKE >= self._cut_ms
        )
        self._last_arrival_ms, self._last_length_ms = arrived_ms, length_ms
        if not follows:
            self._cut_ms = length_ms
        self._in_a_row = self._in_a_row + 1 if follows else 0
        if self._in_a_row >= SLICES_AFTER:
            return Kind.SLICE
        return Kind.CONTINUES if follows else Kind.UTTERANCE
