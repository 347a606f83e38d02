"""PURE. Which of the decoded samples were recorded.

An encoder puts *priming* before the recording and *padding* after it; the container says how much of both, in ticks
of the track's timescale. The decoder's sample rate is known only with its first frame and may differ from what
the container declares: HE-AAC decodes at twice its declared rate. So ticks become samples here, at the rate of
the frames that really come.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """The recorded part of a track: ticks `[start, stop)` of `timescale` a second; `stop` None is the end."""

    start: int
    stop: int | None
    timescale: int

    @property
    def duration_s(self) -> float | None:
        return None if self.stop is None else (self.stop - self.start) / self.timescale


class Trim:
    """Ask `keep` about each frame in turn; stop decoding when `finished`."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._rate = 0
        self._position = 0
        self._start = 0
        self._stop: int | None = None

    @property
    def finished(self) -> bool:
        """Whether all that was recorded has gone by."""
        return self._stop is not None and self._position >= self._stop

    def keep(self, samples: int, sample_rate: int) -> tuple[int, int]:
        """Which samples `[begin, end)` of the next frame to keep; `begin == end` for none."""
        if sample_rate != self._rate:
            self._set_rate(sample_rate)
        begin = min(max(self._start - self._position, 0), samples)
        end = samples if self._stop is None else min(max(self._stop - self._position, begin), samples)
        self._position += samples
        return begin, end

    def _set_rate(self, sample_rate: int) -> None:
        """Samples are counted at `sample_rate` from here on. A start that lies behind is not kept again."""
        if self._rate:
            self._position = _rescale(self._position, sample_rate, self._rate)
        self._rate = sample_rate
        self._start = _rescale(self._span.start, sample_rate, self._span.timescale)
        stop = self._span.stop
        self._stop = None if stop is None else _rescale(stop, sample_rate, self._span.timescale)


def _rescale(value: int, to: int, of: int) -> int:
    """`value / of * to`, rounded to nearest."""
    return (2 * value * to + of) // (2 * of)
