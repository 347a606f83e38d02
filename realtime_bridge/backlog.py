"""PURE. What was said to the client and is not known to have arrived: never trimmed, but not without bound either."""

from __future__ import annotations

from collections import deque

from streams.ids import EntryId

LOOK_BYTES = 1 << 20
"""So much more said since the last look, and it is time to ask what has arrived, and to trim that."""

MAX_BYTES = 16 << 20
"""Some six minutes of speech. A client that is so far behind is not told more of this answer."""


class Backlog:
    """One reign's entries of `down`, from the first that may not have arrived."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._entries: deque[tuple[int, int]] = deque()
        """n, bytes"""
        self._bytes = 0
        self._look_at = LOOK_BYTES

    def said(self, n: int, size: int) -> bool:
        """Entry `<epoch>-<n>` of this size was appended. Whether it is time to look what has arrived."""
        self._entries.append((n, size))
        self._bytes += size
        if self._bytes < self._look_at:
            return False
        self._look_at = self._bytes + LOOK_BYTES
        return True

    def arrived(self, entry: EntryId) -> None:
        """All up to and with this entry is known to have reached the client's machine."""
        while self._entries and EntryId(self._epoch, self._entries[0][0]) <= entry:
            self._bytes -= self._entries.popleft()[1]
        self._look_at = self._bytes + LOOK_BYTES

    @property
    def too_far_behind(self) -> bool:
        """Whether the client is so far behind that the answer is to be broken off."""
        return self._bytes > MAX_BYTES
