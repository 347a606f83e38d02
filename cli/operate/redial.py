"""PURE. When to dial a gateway again whose line has broken, and for how long. Time is an argument, in seconds."""

from __future__ import annotations

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 5.0

GIVE_UP_S = 60.0
"""A gateway that is restarted, or a load balancer that has to find another one, takes less."""

STOOD_S = 5.0
"""A line that lasted for so long was one: what breaks sooner is waited for longer and longer."""


class Redial:
    """Of one line, from its first answer on. `broke` → how long to wait, or None: give up."""

    def __init__(self, now: float) -> None:
        self._answered, self._stood = now, now
        self._tries = 0

    def answered(self, now: float) -> None:
        """There is a line again."""
        self._answered = now

    def broke(self, now: float, jitter: float, *, had_line: bool) -> float | None:
        """`jitter`: random, 0 up to 1. `had_line`: there was an answer since the last time."""
        if had_line:
            self._stood = now
            if now - self._answered >= STOOD_S:
                self._tries = 0
        elif now - self._stood >= GIVE_UP_S:
            return None
        self._tries += 1
        return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(self._tries - 1, 10)) * (1 + jitter) / 2)
