"""PURE. The little statistics that a measurement needs: percentiles, a spread over rounds, and one arm less another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median


def percentile(values: Sequence[float], percent: float) -> float:
    """With linear interpolation between the two nearest. Raises ValueError when there is no value."""
    if not values:
        raise ValueError("of nothing there is no percentile")
    ordered = sorted(values)
    at = (len(ordered) - 1) * percent / 100
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over several rounds."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Raises ValueError when there is no value."""
    if not values:
        raise ValueError("of no rounds there is no spread")
    return Spread(median(values), min(values), max(values))


def added(arm: Mapping[int, float], floor: Mapping[int, float]) -> list[float]:
    """By round: what the arm has on top of the floor of the same round. A round that only one of them has does not count."""
    return [arm[number] - floor[number] for number in sorted(arm.keys() & floor.keys())]


def ratios(arm: Mapping[int, float], other: Mapping[int, float]) -> list[float]:
    """By round: how many times the other of the same round. Rounds in which the other is nothing do not count."""
    return [arm[number] / other[number] for number in sorted(arm.keys() & other.keys()) if other[number]]
