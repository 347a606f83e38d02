"""PURE. What has reached the client, known without its help: a protocol ping carries the id of the last entry that was
written, and comes back as a pong by itself.
"""

from __future__ import annotations

from streams.ids import ZERO, EntryId

PING_EVERY_S = 0.25
"""While something is written; also how much a client that drops may hear twice."""

KEEP_EVERY_S = 0.1
"""Where it has changed."""

KEEP_AGAIN_S = 1.0
"""Where Redis could not keep it."""

PING_EVERY_BYTES = 12_000
"""Of frames: two entries of a tenth of a second of PCM16 in base64; a third would be more than a quarter of a second. A door
that does not pace writes them in much less time."""


class Arrivals:
    """One connection's place in `down`."""

    def __init__(self) -> None:
        self.written = ZERO
        """the last entry all of whose frames are on the socket"""
        self.arrived = ZERO
        """the last entry that is known to have reached the client's machine"""
        self._asked = ZERO
        self._kept = ZERO
        self._unasked_bytes = 0
        self._told = False
        """the client says itself what has arrived, and means more by it: that it has taken it, not only its machine"""

    def wrote(self, entry: EntryId, size: int = 0) -> bool:
        """The last frame of this entry was written, so many bytes. Whether it is time to ask at once."""
        self.written = max(self.written, entry)
        self._unasked_bytes += size
        return not self._told and self._unasked_bytes >= PING_EVERY_BYTES

    def ping(self) -> bytes | None:
        """The payload of a ping, when there is something to ask about."""
        if self._told or self._asked >= self.written:
            return None
        self._asked, self._unasked_bytes = self.written, 0
        return bytes(self.written)

    @property
    def is_unasked(self) -> bool:
        """Something was written that nobody has asked about."""
        return not self._told and self._asked < self.written

    @property
    def is_asked(self) -> bool:
        """A pong is still to come."""
        return not self._told and self.arrived < self._asked

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

    @property
    def unkept(self) -> EntryId | None:
        """The place to be kept in Redis, when it has changed since it was `kept` last."""
        return self.arrived if self._kept < self.arrived else None

    def kept(self, entry: EntryId) -> None:
        """Redis has it: not before, for whoever dials again meanwhile finds what it has."""
        self._kept = max(self._kept, entry)
