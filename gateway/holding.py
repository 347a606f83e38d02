"""One connection's hold on its session: renewed when it is its turn, and what follows when it cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from gateway.backend import Backend
from gateway.downlink import Downlink
from gateway.errors import DoorError, NoBridge, Replaced, SessionGone
from gateway.listening import Listening
from gateway.ways import Way
from runtime.logs import SessionLogger
from streams.attach import Attachment, presence
from streams.errors import StreamUnavailable
from streams.keys import RENEW_S
from streams.sessions import Session

NO_BRIDGE_S = 5.0
"""A client that has spoken and whose session nobody has taken for so long is told so, each time anew."""


class Held(Protocol):
    """What it has to know of its connection."""

    session: Session
    attachment: Attachment
    backend: Backend
    downlink: Downlink
    way: Way
    log: SessionLogger

    def trouble(self, error: DoorError) -> None:
        """Tell the client what went wrong; the connection goes on."""

    def start(self, task: Coroutine[Any, Any, None]) -> None:
        """A task of the connection: what it raises ends that."""


class Holding:
    """Made in the loop. The process's `Keeper` calls `keep`."""

    def __init__(self, of: Held) -> None:
        self._of = of
        self._renewing: asyncio.Future[Any] | None = None
        self._renewed_at = asyncio.get_running_loop().time()
        self._waiting_since: float | None = None
        """for a bridge"""

    def keep(self) -> None:
        """Renew what keeps the session ours and alive; tell a client that has spoken when nobody is free for it."""
        if self._renewing is None or self._renewing.done():  # else Redis does not answer at the moment
            self._renewing = self._of.attachment.renewal(self._of.backend.writer)
            self._renewing.add_done_callback(self._renewed)
        now = asyncio.get_running_loop().time()
        if now - self._renewed_at >= RENEW_S:
            self._renewed_at = now
            self._of.start(self._renew_session())
        if not self._of.way.is_known or self._of.downlink.is_bridged:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = now
        elif now - self._waiting_since >= NO_BRIDGE_S:
            self._of.trouble(NoBridge())
            self._waiting_since = now

    def _renewed(self, answer: asyncio.Future[Any]) -> None:
        if answer.cancelled():
            return
        if isinstance(error := answer.exception(), StreamUnavailable):
            self._of.log.warning("the session could not be renewed: %s", error)
        elif answer.result() == 0:
            self._of.start(self._hold_again())
        elif answer.result() == 2 and isinstance(self._of.way, Listening):
            self._of.way.is_handed_out()

    async def _hold_again(self) -> None:
        """It was not ours any more: another connection has it, or our hold on it has run out."""
        try:
            if not await self._of.attachment.attach(take=False):
                raise Replaced if (await presence(self._of.backend.redis, self._of.session)).attached else SessionGone
        except StreamUnavailable as error:
            self._of.log.warning("the session could not be renewed: %s", error)

    async def _renew_session(self) -> None:
        try:
            await self._of.backend.sessions.renew(self._of.session)
        except StreamUnavailable as error:
            self._of.log.warning("the session could not be renewed: %s", error)
