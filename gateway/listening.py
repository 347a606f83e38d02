"""A connection over which nothing is said, only heard: what the client says comes in requests of its own."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from gateway.backend import Backend
from streams.dispatch import is_handed_out
from streams.errors import StreamUnavailable
from streams.sessions import Session

ASK_EVERY_S = 3.0
"""Until the client has spoken."""


class Listening:
    """The `Way` of such a connection. Made in the loop; it lives until `leave`.

    `comes_back`: the client may say its first word, or listen again, later: the session waits for it, or runs out.
    `asks`: whether it has spoken, wherever that was; so that one that nobody is free for is told here.
    """

    def __init__(
        self,
        backend: Backend,
        session: Session,
        *,
        comes_back: bool = False,
        asks: bool = False,
    ) -> None:
        self._backend, self._session = backend, session
        self._comes_back, self._asks = comes_back, asks
        self._known = False
        self._over = False
        self._left = asyncio.Event()
        self.worker: asyncio.Task[None] = asyncio.create_task(self._wait(), name=f"gateway.listening {session.sid}")

    @property
    def is_known(self) -> bool:
        """As far as this connection knows: where it does not ask, whoever speaks is told what becomes of it."""
        return self._known

    def is_over(self) -> None:
        """The session has ended by itself."""
        self._over = True

    async def leave(self) -> bool:
        """Whether the session has nothing to wait for, as far as this connection knows: nothing was said over it."""
        self._left.set()
        await self.worker
        return not (self._over or self._comes_back)

    async def _wait(self) -> None:
        while self._asks and not self._known:
            with suppress(TimeoutError):
                async with asyncio.timeout(ASK_EVERY_S):
                    await self._left.wait()
                return
            with suppress(StreamUnavailable):
                self._known = await is_handed_out(self._backend.redis, self._session, "bridge")
        await self._left.wait()
