"""All connections of this process, and their end when it stops."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from gateway.errors import ConnectionOver, Restarting
from gateway.metrics import Metrics

logger = logging.getLogger(__name__)

DISMISS_TIMEOUT_S = 6.0
"""How long the connections may take to end when the process stops."""


class Guest(Protocol):
    """What this process has to know of a client that is connected."""

    @property
    def door(self) -> str:
        """Which one it came in by."""

    def over(self, why: ConnectionOver) -> None:
        """End the connection soon."""


class Connections:
    """All connections of this process."""

    def __init__(self, metrics: Metrics) -> None:
        self.draining = False
        """the process takes no more clients"""
        self._stopping = False
        self._metrics = metrics
        self._open: set[Guest] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    @contextmanager
    def joined(self, connection: Guest) -> Iterator[None]:
        """While it runs."""
        self._open.add(connection)
        self._empty.clear()
        if self.draining:
            connection.over(Restarting())
        try:
            with self._metrics.connections.labels(connection.door).track_inprogress():
                yield
        finally:
            self._open.discard(connection)
            if not self._open:
                self._empty.set()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._open)

    async def dismiss(self, within_s: float = 0.0) -> None:
        """Tell every client that this process stops, spread over so long, and wait a few seconds more until they are gone.

        All of them at once would redial at once.
        """
        self._stopping = True
        await self.send_away(within_s)

    def take_again(self) -> None:
        """Clients, after they were sent away; unless the process stops."""
        self.draining = self._stopping

    async def send_away(self, within_s: float) -> None:
        """As `dismiss`, by a process that stays."""
        self.draining = True
        waiting = list(self._open)
        random.shuffle(waiting)
        for connection in waiting:
            if connection in self._open:
                connection.over(Restarting())
                await asyncio.sleep(within_s / len(waiting))
        for connection in self._open:  # who came in at the last moment
            connection.over(Restarting())
        try:
            async with asyncio.timeout(DISMISS_TIMEOUT_S):
                await self._empty.wait()
        except TimeoutError:
            logger.warning("%d connections have not ended in %g s", len(self._open), DISMISS_TIMEOUT_S)
