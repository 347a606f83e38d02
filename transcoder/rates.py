"""PURE. Sample rates: which one a gen's `source` names, and how much of a source makes the same samples again."""

from __future__ import annotations

from math import gcd

from transcoder.decoded import SAMPLE_RATE

MIN_PCM_RATE = 8_000
MAX_PCM_RATE = 96_000
"""Hertz: raw PCM that is taken."""

WARM_UP_S = 0.25
"""Of source before the first sample that counts. A filter reaches back some 4 ms; this is safe, and costs nothing."""


def source_rate(source: str) -> int | None:
    """Hertz of the `Audio` in a gen with this `source` (`streams.up.GenOpened`); None for one that is not taken.

    PCM without a rate is 24 kHz, also that of a client which sends files.
    """
    name, _, rate = source.partition(" ")
    if name != "pcm16" or not rate:
        return SAMPLE_RATE
    if not (rate.isascii() and rate.isdecimal()):
        return None
    return int(rate) if len(rate) < 6 and MIN_PCM_RATE <= int(rate) <= MAX_PCM_RATE else None


def period(source_rate: int, rate: int) -> int:
    """Source samples after which a resampler's phase comes round: 2 for 16 kHz → 24 kHz, 147 for 44.1 kHz → 24 kHz."""
    return source_rate // gcd(source_rate, rate)


def warm_up_from(source_rate: int, rate: int, position: int) -> int:
    """The source sample from which the source must be there so that all from `position` on can be made to the bit."""
    if source_rate == rate:
        return position
    every = period(source_rate, rate)
    return max(0, position - int(WARM_UP_S * source_rate)) // every * every
