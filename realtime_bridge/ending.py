"""PURE. A session is to end, but an answer comes first: when has the model said its last word?

Either the client has said goodbye: what it said last is still answered. Or the session has used all that it may: only what
is being answered is answered to its end.
"""

from __future__ import annotations

SETTLE_S = 1.5
"""The model's VAD may still find speech, and its end, in what it was sent last; and what it has committed by itself it has
yet to begin to answer. So long nothing of this must happen before the session counts as over."""

AT_MOST_S = 120.0
"""An answer that is generated for longer than this is broken off: nobody listens for ever."""


class Ending:
    """From the goodbye to the end of the session. Time is in seconds."""

    def __init__(self, reason: str, now: float, *, used_up: bool = False) -> None:
        self.reason = reason
        self.used_up = used_up
        """nothing new is to be answered"""
        self._settle_s = 0.0 if used_up else SETTLE_S
        self._quiet_from = now
        self._at_latest = now + AT_MOST_S

    def stirred(self, now: float) -> None:
        """Something has happened after which an answer may begin."""
        self._quiet_from = now

    def is_due(self, now: float, *, busy: bool) -> bool:
        """Whether the session ends now. `busy`: an answer is asked for or generated."""
        return now >= self._at_latest or (not busy and now >= self._quiet_from + self._settle_s)

    def deadline(self, *, busy: bool) -> float:
        """When to ask again."""
        return self._at_latest if busy else min(self._quiet_from + self._settle_s, self._at_latest)
