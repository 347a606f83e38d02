"""PURE. How long what is under way to a client plays: of coded audio its bytes do not tell."""

from __future__ import annotations

from collections import deque


class InFlight:
    """Of one connection. Bytes are counted from its beginning."""

    def __init__(self) -> None:
        self._under_way: deque[tuple[int, int, float]] = deque()
        """of each write: where it begins, where it ends, how many seconds it plays"""
        self._written = 0

    def wrote(self, written: int, plays_s: float) -> None:
        """The last write ends at byte `written`."""
        if written > self._written:
            self._under_way.append((self._written, written, plays_s))
            self._written = written

    def seconds(self, arrived: int) -> float:
        """All that is behind byte `arrived`, which has reached the client's machine."""
        while self._under_way and self._under_way[0][1] <= arrived:
            self._under_way.popleft()
        return sum(plays_s * min(1.0, (end - arrived) / (end - begin)) for begin, end, plays_s in self._under_way)
