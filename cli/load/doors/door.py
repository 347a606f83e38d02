"""What a client is to the harness: it dials, says frames, notes what it hears. A file a contract beside this one."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, ClassVar

import aiohttp

from cli.load.coding import TALK, FrameReader
from cli.load.ledger import Ledger

DIAL_LIMIT_S = 4.0
"""A gateway that does not answer a dial by then is not tried further."""
REQUEST_LIMIT_S = 10.0


class Over(Exception):
    """The session has ended, or this client should not come back; the message says why."""


class Door(ABC):
    """One client. `dial`, then `listen` until the line breaks, and again; meanwhile `say` and `finish`."""

    speaks_silence: ClassVar[bool]
    """whether the model finds the end of a turn, in silence that is sent"""
    keeps: ClassVar[bool] = False
    """whether what is said while the line is broken is said when it is back"""

    is_one_line: ClassVar[bool] = False
    """whether all it has is one connection: what breaks that breaks it, and nothing else does"""
    is_told_in_turn: ClassVar[bool] = False
    """whether a word to it stands behind the sound that was said before"""
    goes_on: ClassVar[bool] = False
    """whether it records while the line is broken, and what it recorded then is lost"""

    def __init__(self, address: str, ledger: Ledger, now: Callable[[], float]) -> None:
        self.http_url, self.ws_url = f"http://{address}", f"ws://{address}"
        self.ledger, self.now = ledger, now
        self.last_heard = 0.0
        self.last_sound = 0.0
        """silence, too"""
        self._reader = FrameReader()
        self._stack = AsyncExitStack()
        self._http: aiohttp.ClientSession

    async def open(self) -> None:
        """Once, before the first dial."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=DIAL_LIMIT_S)
        self._http = aiohttp.ClientSession(
            timeout=timeout, connector=aiohttp.TCPConnector(limit=0, force_close=self.one_each)
        )

    one_each: ClassVar[bool] = False
    """a connection of its own for each request"""

    async def close(self) -> None:
        """Once, at the end."""
        self.ledger.broken_down = self._reader.broken
        await self._http.close()

    @abstractmethod
    async def dial(self) -> None:
        """Connect, or connect again. Raises ConnectionError, aiohttp.ClientError, TimeoutError, Over."""

    @abstractmethod
    async def listen(self) -> None:
        """Until the line breaks. Raises Over."""

    @abstractmethod
    async def hang_up(self) -> None:
        """Let go of what the last dial has made."""

    def begin(self, first: int) -> None:  # noqa: B027
        """A turn begins with this frame."""

    @abstractmethod
    async def say(self, first: int, count: int) -> None:
        """These frames. Raises ConnectionError, aiohttp.ClientError when they did not leave for certain."""

    async def be_silent(self, frames: int) -> None:  # noqa: B027
        """As long as so many frames."""

    async def finish(self) -> None:  # noqa: B027
        """The turn is over."""

    async def interrupt(self) -> None:  # noqa: B027
        """The next turn begins before the answer to this one is over; where speech alone does not say so."""

    async def leave(self) -> None:  # noqa: B027
        """Say goodbye."""

    def speech(self, first: int, count: int) -> bytes:
        return TALK.speech(self.ledger.session, first, count)

    def hear(self, pcm: bytes) -> None:
        now = self.now()
        frames = self._reader.feed(pcm)
        if frames:
            self.last_heard = now
        self.ledger.hear(frames, now)

    def trouble(self, sentence: str) -> None:
        if len(self.ledger.troubles) < 50:
            self.ledger.troubles.append(f"{self.now():.2f} {sentence}")

    def announce(self, what: str) -> None:
        self.ledger.announced.append((self.now(), what))


class SocketDoor(Door):
    """Over a WebSocket."""

    is_one_line = True

    _socket: aiohttp.ClientWebSocketResponse

    @property
    @abstractmethod
    def url(self) -> str:
        """Where to dial now."""

    async def dial(self) -> None:
        async with asyncio.timeout(DIAL_LIMIT_S):
            self._socket = await self._http.ws_connect(self.url, max_msg_size=0, compress=0)
            await self.greet()

    async def greet(self) -> None:
        """What is said and heard before anything else."""

    async def listen(self) -> None:
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                await self.receive(message.data)
        code = self._socket.close_code
        if code in (1000, 1011, 4404):
            raise Over(f"closed with {code}")
        if code not in (None, 1006, 1012):
            self.trouble(f"closed with {code}")

    @abstractmethod
    async def receive(self, text: str) -> None:
        """A message."""

    async def hang_up(self) -> None:
        connection = self._socket._response.connection if hasattr(self, "_socket") else None
        if connection is not None and connection.transport is not None:
            connection.transport.abort()

    async def leave(self) -> None:
        await self._socket.close()


class HttpDoor(Door):
    """Over plain HTTP: one answer without an end down, and a task that makes requests up, from the first dial on."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._response: aiohttp.ClientResponse | None = None
        self._uploading: asyncio.Task[None] | None = None

    @abstractmethod
    async def upload(self) -> None:
        """Make the requests, one after the other, for as long as there is this client."""

    def _upload_from_now_on(self) -> None:
        if self._uploading is None:
            self._uploading = asyncio.create_task(self.upload())

    async def hang_up(self) -> None:
        if self._response is not None:
            self._response.close()

    async def close(self) -> None:
        if self._uploading is not None:
            self._uploading.cancel()
            await asyncio.wait([self._uploading])
        await super().close()
