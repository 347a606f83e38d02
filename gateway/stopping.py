"""An interruption at the gateway: what is not sent is dropped at once, and the bridge is told how much was heard.

The bridge asks over the session's control channel (`streams.stopping`). A client that reports what it has played is told of
the interruption by its own door, falls silent, and reports once more: that word is waited for, for a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.backend import Backend
from gateway.playhead import Playhead
from runtime.logs import SessionLogger
from streams.errors import StreamUnavailable
from streams.sessions import Session
from streams.stopping import Played, Stop, Stopped, say
from streams.waiting import Event, Queue

LAST_REPORT_S = 0.12
"""How long the last report of a client that reports is waited for. The bridge waits for 0.2 s in all."""

MAX_STOPS = 16


class Stopping:
    """One connection's. Made in the loop; run `run` while it is connected."""

    def __init__(self, backend: Backend, session: Session, playhead: Playhead, log: SessionLogger) -> None:
        self._backend, self._session, self._playhead, self._log = backend, session, playhead, log
        self._stops: Queue[tuple[Stop, float]] = Queue(MAX_STOPS)
        self._reported = Event()
        self._now = asyncio.get_running_loop().time
        self._reported_at = 0.0
        self.drop: Callable[[str], None] = lambda item: None
        """called with each item of which no more is to be sent"""
        self.flushes = False
        """the client falls silent when it is told of an interruption; any other plays what it has"""

    def stop(self, word: Stop) -> None:
        """The bridge asks."""
        for item in dict.fromkeys(item for item, _ in word.parts):
            self.drop(item)
        if not self._stops.full():
            self._reported.clear()
            self._stops.put_nowait((word, self._now()))

    def played(self, word: Played) -> None:
        """The client reports."""
        self._reported_at = self._now()
        self._playhead.reported(word, self._reported_at)
        self._reported.set()

    async def run(self) -> None:
        """Answer the bridge, until cancelled."""
        while True:
            word, at = await self._stops.get()
            if self._playhead.reports:
                at = await self._last_report(at)
            heard = self._playhead.heard(word.parts, at)
            if self.flushes:
                self._playhead.stop({item for item, _ in word.parts}, at)
            try:
                await say(self._backend.redis, self._session, Stopped(word.stop, heard))
            except StreamUnavailable as error:
                self._log.warning("the bridge is not told what was heard: %s", error)

    async def _last_report(self, at: float) -> float:
        """The moment up to which something was heard: that of the report after which the client was silent."""
        try:
            async with asyncio.timeout_at(at + LAST_REPORT_S):
                await self._reported.wait()
        except TimeoutError:
            return at
        return self._reported_at  # not later: on a busy machine some milliseconds have passed since
