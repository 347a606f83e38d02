"""This gateway says that it is there, and does what an operator wishes of it: send its clients away, or take some again."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from gateway.backend import Backend
from gateway.draining import Connections
from streams import gateways
from streams.errors import StreamUnavailable
from streams.sessions import now_ms

logger = logging.getLogger(__name__)


class Presence:
    """`run` it as long as the process serves; then `leave`."""

    def __init__(self, backend: Backend, connections: Connections, drain_s: float) -> None:
        """`drain_s`: over so long clients are sent away."""
        self._backend, self._connections, self._drain_s = backend, connections, drain_s
        self._since_ms = now_ms()
        self._is_known = False
        self._sending: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until it is cancelled. While Redis is away nothing is heard of wishes, and nothing changes."""
        while True:
            with suppress(StreamUnavailable):
                await self._renew()
            await asyncio.sleep(gateways.RENEW_S)

    async def leave(self) -> None:
        """It is not there any more."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])
        with suppress(StreamUnavailable):
            await gateways.leave(self._backend.redis, self._backend.name)

    async def _renew(self) -> None:
        wished = await gateways.renew(self._backend.redis, self._said(), fresh=not self._is_known)
        self._is_known = True
        if wished and self._sending is None:
            logger.warning("an operator wants this gateway to send its %d clients away", self._connections.count)
            self._sending = asyncio.create_task(self._connections.send_away(self._drain_s), name="gateway.presence")
            await asyncio.sleep(0)
        elif not wished and self._sending is not None:
            logger.warning("an operator wants this gateway to take clients again")
            self._sending.cancel()
            await asyncio.wait([self._sending])
            self._sending = None
            self._connections.take_again()
        else:
            return
        await gateways.renew(self._backend.redis, self._said())

    def _said(self) -> gateways.Gateway:
        connections = self._connections
        return gateways.Gateway(
            name=self._backend.name,
            at_ms=now_ms(),
            since_ms=self._since_ms,
            connections=connections.count,
            draining=connections.draining,
        )
