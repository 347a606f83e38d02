"""Tells a session's bridge when its client gets the first sound of each answer, and begins to play it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from gateway.backend import Backend
from gateway.first_bytes import FirstBytes
from runtime.logs import SessionLogger
from streams import timing
from streams.errors import StreamUnavailable
from streams.ids import EntryId
from streams.sessions import Session
from streams.stopping import Played
from streams.timing import Reached
from streams.waiting import Queue

MAX_WORDS = 16
"""Said and not yet on their way. An answer is two of them."""


class Reaching:
    """One connection's. Made in the loop; run `run` while it is connected."""

    def __init__(self, backend: Backend, session: Session, log: SessionLogger) -> None:
        self._backend, self._session, self._log = backend, session, log
        self._firsts = FirstBytes()
        self._words: Queue[Reached] = Queue(MAX_WORDS)
        self.read = self._firsts.read
        """call it with each entry that is on its way to the client"""

    def wrote(self, entry: EntryId) -> None:
        """All up to and with this entry is written."""
        self._put(self._firsts.wrote(entry, _now_ms()))

    def played(self, word: Played) -> None:
        """The client reports."""
        self._put(self._firsts.played(word, _now_ms()))

    def _put(self, word: Reached | None) -> None:
        if word is not None:
            with suppress(asyncio.QueueFull):
                self._words.put_nowait(word)

    async def run(self) -> None:
        """Say it, until cancelled."""
        while True:
            word = await self._words.get()
            try:
                await timing.say(self._backend.redis, self._session, word)
            except StreamUnavailable as error:
                self._log.debug("the bridge is not told when an answer was %s: %s", word.what, error)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
