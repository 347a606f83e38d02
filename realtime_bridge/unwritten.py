"""PURE. Turns of the user whose words nobody has written down (yet): should the line break, their sound is told instead."""

from __future__ import annotations

from collections.abc import Iterable

from realtime_bridge.spoken import SAMPLES_PER_MS, START, Position
from streams.ids import EntryId, just_before

KEEP_S = 60
"""So much of what the user says afterwards may come and no words with it; then the sound is let go. It is also the most of
one turn that is told as sound."""

_KEEP_SAMPLES = KEEP_S * 1_000 * SAMPLES_PER_MS


class UnwrittenTurns:
    """One conversation's, in order. `clock`: samples that were sent since the socket opened."""

    def __init__(self) -> None:
        self._begins: dict[str, tuple[Position, int]] = {}
        """by item: where its sound begins, and when on the clock"""

    def restore(self, begins: Iterable[tuple[str, Position]]) -> None:
        """These the next socket is told as sound, and the one after it may have to be."""
        self._begins = {item: (begin, 0) for item, begin in begins}

    def reopen(self) -> None:
        """The clock begins anew: a socket has opened."""
        self.restore((item, begin) for item, (begin, _) in self._begins.items())

    def committed(self, item: str, begin: Position, clock: int) -> None:
        """The user's turn is an item, whose sound begins here."""
        self._begins[item] = (begin, clock)

    def written(self, item: str) -> None:
        """Its words are noted; or it is taken back, and nobody asks for them."""
        self._begins.pop(item, None)

    def may_go(self, upto: EntryId, clock: int) -> EntryId:
        """Of what is needless up to this entry, what is needless for these too: up to which entry it may be let go."""
        while self._begins and clock - next(iter(self._begins.values()))[1] > _KEEP_SAMPLES:
            del self._begins[next(iter(self._begins))]
        return min(upto, *(_before(begin) for begin, _ in self._begins.values())) if self._begins else upto


def _before(begin: Position) -> EntryId:
    """The last entry of which nothing lies behind this place."""
    if begin == START or not begin.samples:
        return begin.entry
    return just_before(begin.entry)
