"""PURE. An answer that the server had no room for is asked for again, a little later. Time is in seconds."""

from __future__ import annotations

from realtime_bridge.server_events import Response
from realtime_bridge.spoken import Position
from realtime_bridge.verdicts import TRANSIENT_CODES

WAITS_S = (0.5, 1.0, 2.0, 4.0)
"""Before each new try. Rate limits are over minutes, but the bucket fills all the time."""


class Again:
    """At most one answer waits."""

    def __init__(self, *, asks: bool = True) -> None:
        """`asks`: otherwise the client sees to it by itself."""
        self._asks = asks
        self.deadline: float | None = None
        self._about: Position | None = None
        self._failures = 0

    def will_be_asked(self, response: Response) -> bool:
        """Whether this one has failed in such a way, and there is a try left."""
        return self._asks and code_of(response) in TRANSIENT_CODES and self._failures < len(WAITS_S)

    def ask(self, about: Position, now: float) -> None:
        """For an answer up to there, when its time has come."""
        self._about, self.deadline = about, now + WAITS_S[self._failures]
        self._failures += 1

    def due(self, now: float) -> Position | None:
        """Up to where an answer is to be asked for now."""
        if self.deadline is None or now < self.deadline:
            return None
        about, self._about, self.deadline = self._about, None, None
        return about

    def forget(self) -> None:
        """Another one begins, or is not wanted any more."""
        self._about = self.deadline = None

    def succeeded(self) -> None:
        """The server has room."""
        self._failures = 0


def code_of(response: Response) -> str | None:
    """Why it failed; None when it did not."""
    if response.status != "failed" or response.status_details is None or response.status_details.error is None:
        return None
    error = response.status_details.error
    return error.code or error.type
