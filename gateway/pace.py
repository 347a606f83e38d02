"""PURE. When the next piece of an answer is due at a client that cannot take back what it has.

Such a client plays what it gets as it comes. So that an interruption is heard as one, it is never sent more than AHEAD_S
that it should not have played yet. Whoever is late stays late: the schedule slips, nothing is caught up. Time is an
argument, in seconds. (Where a stream must not pause, with silence between: `pacer.py`.)
"""

from __future__ import annotations

AHEAD_S = 0.25
"""A mobile network holds up a packet for a tenth of a second or two; an interruption is to be over in 350 ms."""


class Pace:
    """One connection's."""

    def __init__(self) -> None:
        self._plays_until = 0.0

    def due(self, plays_s: float) -> float:
        """When so many seconds of audio may be sent; may be past."""
        return self._plays_until + min(plays_s, AHEAD_S) - AHEAD_S

    def sent(self, plays_s: float, now: float) -> None:
        """They are."""
        self._plays_until = max(now, self._plays_until) + plays_s

    def stop(self, now: float) -> None:
        """What was sent plays out, and nothing more comes: what comes next waits for it no longer than that."""
        self._plays_until = max(now, self._plays_until)
