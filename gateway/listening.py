"""A connection over which nothing is said, only heard: what the client says comes in requests of its own."""

from __future__ import annotations

import asyncio
import logging

from gateway.backend import Backend
from streams.dispatch import is_handed_out
from streams.errors import StreamUnavailable
from streams.sessions import Session


class Listening:
    """The `Way` of such a connection. Made in the loop; it lives until `leave`."""

    def __init__(self, backend: Backend, session: Session, log: logging.LoggerAdapter[logging.Logger]) -> None:
        self._backend, self._session, self._log = backend, session, log
        self._over = False
        self._left = asyncio.Event()
        self.worker: asyncio.Task[None] = asyncio.create_task(self._wait(), name=f"gateway.listening {session.sid}")

    @property
    def is_known(self) -> bool:
        """Not as far as this connection knows: whoever speaks is told what becomes of it."""
        return False

    def is_over(self) -> None:
        """The session has ended by itself."""
        self._over = True

    async def leave(self, *, replaced: bool) -> None:
        """A session in which nothing was said has nothing to wait for, and ends; one that is another's by now goes on."""
        self._left.set()
        await self.worker
        if self._over or replaced:
            return
        try:
            if not await is_handed_out(self._backend.redis, self._session, "bridge"):
                await self._backend.sessions.end(self._session, linger_ms=0)
        except StreamUnavailable as error:
            self._log.warning("the session runs out by itself: %s", error)

    async def _wait(self) -> None:
        await self._left.wait()
