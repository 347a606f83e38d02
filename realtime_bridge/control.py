"""A session's control channel, as its bridge uses it: asks the gateway to stop, and hears what was heard until then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from realtime_bridge.playback import Heard
from runtime.logs import SessionLogger
from streams.attach import read_control
from streams.errors import StreamUnavailable
from streams.hub import Hub
from streams.sessions import Session
from streams.stopping import Stop, Stopped, read, say

MAX_WORDS = 16
"""Said and not yet dealt with. An interruption is two of them."""


class Control:
    """Run `run` while the session is bridged."""

    def __init__(self, hub: Hub, session: Session, stopped: Callable[[str, Heard], None], log: SessionLogger) -> None:
        """`stopped`: called with the name of a stop and what was heard."""
        self._hub, self._session, self._stopped, self._log = hub, session, stopped, log
        self._words: asyncio.Queue[Stop | Stopped] = asyncio.Queue(MAX_WORDS)

    def stop(self, word: Stop) -> None:
        """Ask the gateway."""
        self._put(word)

    def heard(self, data: bytes) -> None:
        """From the bus."""
        what, argument = read_control(data)
        if what == "stopped" and (word := read(Stopped, argument)) is not None:
            self._put(word)

    def missed(self) -> None:
        """From the bus: an answer may have been lost, which is not waited for."""

    def _put(self, word: Stop | Stopped) -> None:
        with suppress(asyncio.QueueFull):
            self._words.put_nowait(word)

    async def run(self) -> None:
        """Say and hear until cancelled, or until what `stopped` leads to raises."""
        channel = self._session.keys.control
        await self._hub.bus.subscribe(channel, self)
        try:
            while True:
                match await self._words.get():
                    case Stop() as word:
                        try:
                            await say(self._hub.redis, self._session, word)
                        except StreamUnavailable as error:
                            self._log.warning("the gateway cannot be asked what was heard: %s", error)
                    case Stopped(stop=stop, heard=heard):
                        self._stopped(stop, {(item, part): ms for item, part, ms in heard})
        finally:
            await self._hub.bus.unsubscribe(channel, self)
