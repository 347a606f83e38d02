"""What a connection joins: a wire down to the client, and a way up to the session. Doors may bring others along."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from gateway.errors import ConnectionOver
from gateway.outbox import Frame


class Wire(Protocol):
    """How what the client is told goes down: a `TextSocket`, an `EventStream`, or another that a door brings along."""

    on_pong: Callable[[bytes], None] | None
    """called with the payload of each ping that has come back"""

    async def write(self, frame: Frame) -> None:
        """Raises SlowClient, ClientLeft."""

    async def ping(self, payload: bytes) -> None:
        """Have it come back when all that was written before has reached the client's machine. Raises ClientLeft."""

    async def depart(self, over: ConnectionOver) -> None:
        """Tell the client why, while it is still listened to, and wait a little for it to have done the same."""

    async def close(self, over: ConnectionOver) -> None:
        """Tell the client why, and wait a little for it to read that."""


class Way(Protocol):
    """How what the client says goes up: `Uplink`, or another that a door brings along."""

    @property
    def worker(self) -> asyncio.Future[None]:
        """Ends when nothing goes up any more, with the fault if it was one."""

    @property
    def is_known(self) -> bool:
        """Whether a worker has been told of the session."""

    def is_over(self) -> None:
        """The session has ended by itself."""

    async def leave(self) -> bool:
        """Store what was said, and end. Whether the session has nothing to wait for: nothing was said over this."""
