"""PURE. Where in `pcm` each sample of the model's input came from: its audio clock ↔ our entries."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from streams.ids import ZERO, EntryId, just_before

SAMPLES_PER_MS = 24


class Position(NamedTuple):
    """A place in `pcm`: this many samples into this entry."""

    entry: EntryId
    samples: int


START = Position(ZERO, 0)
"""Before everything."""


class _Span(NamedTuple):
    entry: EntryId
    skipped: int
    """samples at its head that were not sent"""
    start: int
    """first sample of the entry on the model's audio clock"""
    end: int


class Spoken:
    """The entries that were sent to one upstream socket, since the last place that nobody asks about any more."""

    def __init__(self) -> None:
        self._spans: deque[_Span] = deque()
        self._clock = 0
        """samples appended since the socket opened"""

    @property
    def clock(self) -> int:
        """The model's audio clock: samples appended since its socket opened."""
        return self._clock

    def appended(self, entry: EntryId, samples: int, skipped: int = 0) -> None:
        """These samples of `pcm` went upstream; `skipped` at the head of the entry did not."""
        self._spans.append(_Span(entry, skipped, self._clock, self._clock + samples))
        self._clock += samples

    def inserted(self, samples: int) -> None:
        """Silence of ours went upstream; it is in no entry."""
        self._clock += samples

    def at(self, sample: int) -> Position | None:
        """The entry that holds this sample of the clock, or the last one before, if it is silence of ours; None when nothing
        so far back (or so far ahead) is known."""
        if sample > self._clock:
            return None
        for span in reversed(self._spans):
            if span.start < sample:
                return Position(span.entry, span.skipped + min(sample, span.end) - span.start)
        return None

    @property
    def first(self) -> Position:
        """Right before the first sample that is still known. (An entry of which no samples are named is all dealt with.)"""
        if not self._spans:
            return START
        entry, skipped = self._spans[0].entry, self._spans[0].skipped
        return Position(entry, skipped) if skipped else Position(just_before(entry), 0)

    @property
    def oldest(self) -> int:
        """Where on the clock what is still known begins."""
        return self._spans[0].start if self._spans else self._clock

    def forget_before(self, sample: int) -> EntryId | None:
        """Drop what ends at or before this sample; the last entry that was dropped."""
        dropped = None
        while self._spans and self._spans[0].end <= sample:
            dropped = self._spans.popleft().entry
        return dropped
