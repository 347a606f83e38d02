"""PURE. What has reached the client, known without its help: a protocol ping carries the id of the last entry that was
written, and comes back as a pong by itself.
"""

from __future__ import annotations

from streams.ids import ZERO, EntryId

PING_EVERY_S = 0.25
"""At most; only while something was written. It is also how much a client that drops may hear twice."""


class Arrivals:
    """One connection's place in `down`."""

    def __init__(self) -> None:
        self.written = ZERO
        """the last entry all of whose frames are on the socket"""
        self.arrived = ZERO
        """the last entry that is known to have reached the client's machine"""
        self._asked = ZERO
        self._kept = ZERO
        self._told = False
        """the client says itself what has arrived, and means more by it: that it has taken it, not only its machine"""

    def wrote(self, entry: EntryId) -> None:
        """The last frame of this entry was written."""
        self.written = max(self.written, entry)

    def ping(self) -> bytes | None:
        """The payload of a ping, when there is something to ask about."""
        if self._told or self._asked >= self.written:
            return None
        self._asked = self.written
        return bytes(self.written)

    def pong(self, payload: bytes) -> bool:
        """A pong came back; whether it says something new. Heartbeats and a client's own inventions say nothing."""
        try:
            entry = EntryId.parse(payload)
        except ValueError:
            return False
        if self._told or not self.arrived < entry <= self._asked:
            return False
        self.arrived = entry
        return True

    def confirm(self, entry: EntryId) -> bool:
        """The client says that it has all up to here; whether that is something new."""
        self._told = True
        if not self.arrived < entry <= self.written:
            return False
        self.arrived = entry
        return True

    def keep(self) -> EntryId | None:
        """The place to be kept in Redis, when it has changed since the last time."""
        if self._kept >= self.arrived:
            return None
        self._kept = self.arrived
        return self.arrived
