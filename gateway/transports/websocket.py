"""How frames move over a WebSocket: always read, sent one after the other, and never without a limit in time.

aiohttp waits for a slow client in places where nobody limits the time, and a wait that was cancelled makes the next one
raise CancelledError out of nowhere. So none of its own waits is used: its writer is told never to wait (`writer_limit`),
pings are answered here, and a close does not wait for the buffer to empty. The one wait is in `send`, and nothing is sent
after it was cancelled.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from aiohttp import WebSocketError, WSCloseCode, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import WSMessageDecodeText, WSMessageNoDecodeText

from gateway.errors import ClientLeft, ConnectionOver, FrameTooLarge, NeedsWebSocket, SlowClient
from gateway.outbox import Frame
from gateway.transports.outflow import Outflow, gone_is_left

HEARTBEAT_S = 20.0
"""A client that sends nothing for so long is asked for a sign of life; without one it is gone 10 s later."""

UNREACHABLE_S = 1.5 * HEARTBEAT_S
"""So long nothing that is sent to a client has to arrive; then it is gone."""

CLOSE_TIMEOUT_S = 2.0
"""How long the client's answer to a close is waited for."""

CLOSED_WITHOUT_CODE = 1005
"""RFC 6455's name for it."""

Message = WSMessageDecodeText | WSMessageNoDecodeText

PROTOCOLS = ("realtime",)
"""What a browser asks for that has to hide its token among the subprotocols; nothing else is answered."""

AT_ONCE = 8
"""Of a burst, until others have their turn, and the answers to it."""

_CODE = struct.Struct("!H")
MAX_UNSENT_PONGS_BYTES = 256 << 10
_REASON_BYTES = 123
"""What a close frame has room for."""


@dataclass(frozen=True, slots=True)
class Binary:
    """What a binary frame carries."""

    data: bytes = field(repr=False)


class TextSocket:
    """One client's WebSocket, on which we say text, and binary frames where a door has some. One task receives, one
    sends.
    """

    def __init__(
        self,
        *,
        max_message_bytes: int,
        send_timeout_s: float,
        on_pong: Callable[[bytes], None] | None = None,
        protocols: Sequence[str] = PROTOCOLS,
    ) -> None:
        self._ws: web.WebSocketResponse[bool] = web.WebSocketResponse(
            protocols=protocols,
            compress=False,  # audio does not get smaller
            autoping=False,
            autoclose=False,  # it would answer the answer to our goodbye
            heartbeat=HEARTBEAT_S,
            timeout=CLOSE_TIMEOUT_S,
            max_msg_size=max_message_bytes,
            writer_limit=sys.maxsize,
            decode_text=False,
        )
        self.send_timeout_s = send_timeout_s
        self.on_pong = on_pong
        """called with the payload of each pong"""
        self.goodbye: int | None = None
        """the code with which the client has closed; None when it has not, or its network is gone"""
        self._departs = False
        """we have said goodbye, and the client has not yet"""
        self._left = asyncio.Event()
        """no frame comes any more"""
        self._writer: AbstractStreamWriter
        self._outflow: Outflow

    @property
    def unacknowledged(self) -> int:
        """Bytes that were written and have not reached the other machine."""
        return self._outflow.unacknowledged

    @property
    def is_unreachable(self) -> bool:
        """Whether the other machine acknowledges nothing: its network is away."""
        return self._outflow.is_unreachable

    async def open(self, request: web.Request) -> web.WebSocketResponse[bool]:
        """Answer the handshake; what this returns is the handler's response. Raises NeedsWebSocket, ClientLeft."""
        with gone_is_left():
            self._outflow = Outflow(request, send_timeout_s=self.send_timeout_s)
            try:
                self._writer = await self._ws.prepare(request)
            except web.HTTPBadRequest as error:
                raise NeedsWebSocket from error
            # Where only our packets are lost the heartbeat is content: it hears the client's.
            self._outflow.stay_for(max(self.send_timeout_s, UNREACHABLE_S))
        return self._ws

    async def received(self) -> AsyncGenerator[bytes | None, None]:
        """The client's text frames as UTF-8 (not checked), None for a binary frame; ends when the client has left.

        To the last, for who waits for nothing meanwhile: see `received_any`, and what that raises.
        """
        async with aclosing(self.received_any(to_the_last=True)) as frames:
            async for frame in frames:
                yield None if isinstance(frame, Binary) else frame

    async def received_any(self, *, to_the_last: bool = False) -> AsyncGenerator[bytes | Binary, None]:
        """The client's frames, text as UTF-8 (not checked); ends when the client has left, and all that it sent was given.

        `to_the_last`: so it is also when this is cancelled, as it is when the line breaks: the end comes with what was said
        last. Only for who waits for nothing while taking a frame, for nobody cancels that any more.

        Raises SlowClient when it sends pings but reads no pongs, ClientLeft when a pong finds nobody, FrameTooLarge when it
        has sent one (it knows already).
        """
        receive: Callable[[], Awaitable[Message]] = self._ws.receive
        given = 0
        while True:
            try:
                if given == AT_ONCE:  # aiohttp gives what has arrived without a pause
                    given = 0
                    await asyncio.sleep(0)
                given += 1
                message = await receive()
            except asyncio.CancelledError:
                if not to_the_last or receive == self._at_hand:
                    raise
                receive, given = self._at_hand, AT_ONCE + 1  # all the rest at once
                message = await receive()
            match message.type:
                case WSMsgType.TEXT:
                    yield message.data
                case WSMsgType.BINARY:
                    yield Binary(message.data)
                case WSMsgType.PING:
                    await self._pong(message.data)
                case WSMsgType.PONG:
                    if self.on_pong is not None:
                        self.on_pong(bytes(message.data))
                case WSMsgType.CLOSE:
                    self._left.set()
                    if self._departs:  # it is the answer to ours, and says nothing of its own
                        self._outflow.close()
                    else:
                        self.goodbye = message.data or CLOSED_WITHOUT_CODE
                        await self._ws.close(drain=False)
                    return
                case WSMsgType.ERROR if _is_too_large(message.data):
                    raise FrameTooLarge
                case _:
                    return

    async def _at_hand(self) -> Message:
        """What has arrived and was not given yet. Raises CancelledError when that is nothing."""
        try:
            async with asyncio.timeout(0):  # which is looked at only where something is waited for
                return await self._ws.receive()
        except TimeoutError:
            raise asyncio.CancelledError from None

    async def send(self, data: bytes, *, is_binary: bool = False) -> None:
        """Write one frame, of text if it is not binary, and wait until the client has read most of what was written.

        Raises SlowClient when the client reads nothing at all for the send timeout; a slow one that reads may take longer.
        Raises ClientLeft when it is gone.
        """
        try:
            await self._ws.send_frame(data, WSMsgType.BINARY if is_binary else WSMsgType.TEXT)
        except ConnectionError as error:  # as in `gone_is_left`, which would cost as much as the rest of this
            raise ClientLeft from error
        await self._outflow.settle(self._writer)

    async def write(self, frame: Frame) -> None:
        """As `send`."""
        await self.send(frame.data, is_binary=frame.is_binary)

    async def ping(self, payload: bytes) -> None:
        """Ask the client's machine to send this back (at most 125 bytes). Raises ClientLeft when it is gone."""
        if self._departs:
            return
        with gone_is_left():
            await self._ws.ping(payload)

    async def depart(self, over: ConnectionOver) -> None:
        """Say goodbye, and go on receiving until the client has done so too, for a little while.

        What it has sent by then was said to us. To be sent nothing more: the protocol has no frame behind a close.
        """
        if over.close_code is None:
            return
        self._departs = True
        with gone_is_left():
            await self._ws.send_frame(_CODE.pack(over.close_code) + close_reason(str(over)), WSMsgType.CLOSE)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._left.wait()

    async def close(self, over: ConnectionOver) -> None:
        """Tell the client why, and wait a little for its answer. One that does not read is cut off."""
        if self._departs:  # it was told: a second close is a fault of ours, for a browser
            self._outflow.close()
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._outflow.abort)
        elif over.close_code is not None:
            await self.hang_up(over.close_code, str(over))
        elif isinstance(over, SlowClient):
            self._outflow.reset()  # what it has not got counts as not heard, and comes again over its next connection
        else:
            # Our answer to its close may still be on the way out; if it reads no more, that must not last for ever.
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._outflow.abort)

    async def hang_up(self, close_code: int, reason: str) -> None:
        """Close it, and wait a little for the client's answer. One that does not read is cut off."""
        await self._ws.close(code=close_code, message=close_reason(reason), drain=False)
        if self._outflow.buffered:
            self._outflow.abort()

    async def _pong(self, data: bytes) -> None:
        if self._outflow.buffered > MAX_UNSENT_PONGS_BYTES:
            raise SlowClient
        with gone_is_left():
            await self._ws.pong(data)


def _is_too_large(error: object) -> bool:
    return isinstance(error, WebSocketError) and error.code == WSCloseCode.MESSAGE_TOO_BIG


def close_reason(sentence: str) -> bytes:
    """As much of it as a close frame has room for, in whole characters."""
    return sentence.encode()[:_REASON_BYTES].decode(errors="ignore").encode()
