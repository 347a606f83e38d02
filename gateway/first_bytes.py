"""PURE. When a client gets the first sound of each answer, and when it says that it plays it."""

from __future__ import annotations

from streams import down
from streams.ids import EntryId
from streams.stopping import Played
from streams.timing import Reached

BEGINNING_MS = 5_000
"""A first report from further inside tells nothing of the beginning."""


class FirstBytes:
    """One connection's. Times are in ms since 1970."""

    def __init__(self) -> None:
        self._response = ""
        self._item = ""
        """its first one, as long as its playback is not reported"""
        self._awaits = False
        """its first sound is still to come"""
        self._first: EntryId | None = None
        """the entry with its first sound, as long as that is on its way"""

    def read(self, entry: EntryId, message: down.DownMessage) -> None:
        """An entry is on its way to the client."""
        if not isinstance(message, down.Audio | down.Coded):
            return
        if message.response != self._response:
            self._response, self._item = message.response, message.item
            self._awaits, self._first = message.start_ms == 0, None  # else another connection had the beginning
        if self._awaits and message.audio:
            self._awaits, self._first = False, entry

    def wrote(self, entry: EntryId, now_ms: int) -> Reached | None:
        """All up to and with this entry is written."""
        if self._first is None or entry < self._first:
            return None
        self._first = None
        return Reached(self._response, "written", now_ms)

    def played(self, played: Played, now_ms: int) -> Reached | None:
        """The client says how far it is."""
        if not self._item or played.item != self._item or not 0 < played.ms <= BEGINNING_MS:
            return None
        self._item = ""
        return Reached(self._response, "played", now_ms - played.ms)
