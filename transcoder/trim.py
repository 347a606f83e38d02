"""PURE. Which of the decoded samples were recorded.

An encoder puts *priming* before the recording and *padding* after it; the container says how much of both, in ticks
of the track's timescale. The decoder's sample rate is known only with its first frame and may differ from what
the container declares: HE-AAC decodes at twice its declared rate. So ticks become samples here, at the rate of
the frames that really come.

Who counts HE-AAC in ticks of its core, at half the rate, leaves the delay of the decoder's upper half out of the priming, as
iTunes does: the same numbers hold for a decoder that knows the core only. Who counts at the full rate (FFmpeg) has it in.
"""

from __future__ import annotations

from dataclasses import dataclass

SBR_DELAY = 481
"""Ticks of the core by which HE-AAC comes later than its core does."""


@dataclass(frozen=True, slots=True)
class Span:
    """The recorded part of a track: ticks `[start, stop)` of `timescale` a second; `stop` None is the end."""

    start: int
    stop: int | None
    timescale: int
    padding: int = 0
    """ticks that follow; of AAC, as an encoder that leaves its decoder's delay out has to add as many"""

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
        span, delay = self._span, self._delay(sample_rate)
        self._start = _rescale(span.start + delay, sample_rate, span.timescale)
        self._stop = None if span.stop is None else _rescale(span.stop + delay, sample_rate, span.timescale)

    def _delay(self, sample_rate: int) -> int:
        """Ticks, of a decoder that the span knows nothing of. Where sound was kept already there is no more to pass over."""
        span = self._span
        untouched = self._position <= _rescale(span.start, sample_rate, span.timescale)
        core = sample_rate == 2 * span.timescale
        return SBR_DELAY if core and span.start and span.padding >= SBR_DELAY and untouched else 0


def _rescale(value: int, to: int, of: int) -> int:
    """`value / of * to`, rounded to nearest."""
    return (2 * value * to + of) // (2 * of)
