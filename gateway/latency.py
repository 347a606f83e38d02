"""PURE. How long packets were under way, by the timestamps that their sender put on them."""

from __future__ import annotations

from collections import deque

WINDOW = 512
"""Packets that the percentiles are taken from: ten seconds at 50 a second."""

HIGHEST_MS = 60_000
"""What seems to have been under way for longer was stamped by a clock that is wrong."""


class Latencies:
    """Of one session, as this process has seen it. Milliseconds."""

    def __init__(self) -> None:
        self._last: deque[int] = deque(maxlen=WINDOW)
        self.count = 0
        """all packets"""
        self.skewed = 0
        """packets from the future, or from too far in the past: the clocks differ, and nothing can be said of the way"""

    def took(self, sent_ms: int, now_ms: int) -> int | None:
        """Count a packet; how long it was under way, None when the clocks do not allow to say."""
        self.count += 1
        latency = now_ms - sent_ms
        if not 0 <= latency <= HIGHEST_MS:
            self.skewed += 1
            return None
        self._last.append(latency)
        return latency

    def report(self) -> dict[str, int] | None:
        """`last`, `p50` and `p95` of the last packets, and how many those are; None when nothing can be said."""
        if not self._last and not self.skewed:
            return None
        figures = {"packets": len(self._last), "skewed": self.skewed}
        if self._last:
            ordered = sorted(self._last)
            figures |= {"last": self._last[-1], "p50": _percentile(ordered, 50), "p95": _percentile(ordered, 95)}
        return figures


def _percentile(ordered: list[int], percent: int) -> int:
    """The smallest value that is not exceeded by so many percent."""
    return ordered[-(-len(ordered) * percent // 100) - 1]
