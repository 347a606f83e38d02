"""PURE. How often a child process may die before that is an answer in itself."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Restart:
    """Start it again."""

    wait_s: float
    """Seconds to wait before."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It has died too often: starting it again will not help."""

    deaths: int
    within_s: float


@dataclass(slots=True)
class RestartPolicy:
    """At most `limit` restarts in any `window_s` seconds.

    The first restart is immediate, since nobody can talk meanwhile; each further one waits `backoff_s` longer, because
    whatever the child misses (Redis, say) may itself be starting again.
    """

    limit: int = 3
    window_s: float = 60.0
    backoff_s: float = 0.5
    _restarts: deque[float] = field(default_factory=deque)

    def died(self, now: float) -> Restart | GiveUp:
        """What to do about a death at `now`, in seconds of any clock that does not go back."""
        while self._restarts and self._restarts[0] <= now - self.window_s:
            self._restarts.popleft()
        recent = len(self._restarts)
        if recent >= self.limit:
            return GiveUp(deaths=recent + 1, within_s=self.window_s)
        self._restarts.append(now)
        return Restart(wait_s=self.backoff_s * recent)
