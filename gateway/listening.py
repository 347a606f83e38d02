"""A connection over which nothing is said, only heard: what the client says comes in requests of its own."""

from __future__ import annotations

import asyncio


class Listening:
    """The `Way` of such a connection. Made in the loop; it lives until `leave`.

    `comes_back`: the client may say its first word, or listen again, later: the session waits for it, or runs out.
    `asks`: whether it has spoken, wherever that was; so that one that nobody is free for is told here.
    """

    def __init__(
        self,
        *,
        comes_back: bool = False,
        asks: bool = False,
    ) -> None:
        self._comes_back, self._asks = comes_back, asks
        self._known = False
        self._over = False
        self.worker: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_known(self) -> bool:
        """As far as this connection knows: where it does not ask, whoever speaks is told what becomes of it."""
        return self._known

    def is_over(self) -> None:
        """The session has ended by itself."""
        self._over = True

    def is_handed_out(self) -> None:
        """A bridge was told of the session."""
        self._known = self._known or self._asks

    async def leave(self) -> bool:
        """Whether the session has nothing to wait for, as far as this connection knows: nothing was said over it."""
        if not self.worker.done():
            self.worker.set_result(None)
        return not (self._over or self._comes_back)
