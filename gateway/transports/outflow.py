"""How what was written leaves: seen early enough that a client does not read, and waited for within a limit in time."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Iterator
from typing import cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from gateway.errors import ClientLeft, SlowClient

HIGH_WATER_BYTES = 32 << 10
"""Of unsent bytes in the process, above which a writer waits."""

KERNEL_BYTES = 64 << 10
"""SO_SNDBUF (Linux doubles it). The default swallows a minute of speech before a write has to wait: too late to notice a
client that does not read, and too late for an interruption."""

_TCP_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)
_RETRANSMITS = 2
"""Where `tcpi_retransmits`, a byte, stands in `struct tcp_info` (linux/tcp.h)."""


class Outflow:
    """The sending half of one client's connection."""

    def __init__(self, request: web.Request, *, send_timeout_s: float, kernel_bytes: int = KERNEL_BYTES) -> None:
        """Bounds its buffers. Raises ConnectionResetError when the client has left already; see `gone_is_left`."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has left")
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's have another base
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self._socket: socket.socket | None = transport.get_extra_info("socket")
        if self._socket is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, kernel_bytes)
        self._send_timeout_s = send_timeout_s

    @property
    def buffered(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._transport.get_write_buffer_size()

    @property
    def unacknowledged(self) -> int:
        """Bytes that were written and have not reached the other machine, as far as its TCP has said so (SIOCOUTQ)."""
        queued = 0
        if self._socket is not None and self._socket.fileno() >= 0:
            with contextlib.suppress(OSError):
                answer = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
                queued = int(struct.unpack("i", answer)[0])
        return self.buffered + queued

    @property
    def is_unreachable(self) -> bool:
        """Whether the other machine acknowledges nothing, and the kernel sends it again: its network is away. One that
        does not read acknowledges what it has no room for. Linux only; elsewhere never."""
        if self._socket is None or self._socket.fileno() < 0 or _TCP_INFO is None:
            return False
        with contextlib.suppress(OSError):
            return self._socket.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _RETRANSMITS + 1)[_RETRANSMITS] > 0
        return False

    async def settle(self, writer: AbstractStreamWriter) -> None:
        """Wait until the client has read most of what was written.

        Raises SlowClient when it reads nothing at all for the send timeout; a slow one that reads may take longer, and one
        whose network is away until it is back, or the connection is lost. Raises ClientLeft when it is gone.
        """
        unsent = self.buffered
        if unsent <= HIGH_WATER_BYTES:
            return
        draining = asyncio.create_task(writer.drain(), name="gateway.drain")
        try:
            while not (await asyncio.wait([draining], timeout=self._send_timeout_s))[0]:
                still = self.buffered
                if still >= unsent and not self.is_unreachable:
                    raise SlowClient
                unsent = still
            with gone_is_left():
                draining.result()
        finally:
            if draining.cancel():
                await asyncio.wait([draining])

    def stay_for(self, unreachable_s: float) -> None:
        """Keep the connection of a client that no packet reaches for so long. Linux only; elsewhere for minutes.

        Whoever listens only is not told of a connection that was dropped while its network was away: it would go on
        listening for ever. With the network comes what was sent meanwhile.
        """
        if self._socket is not None and _TCP_USER_TIMEOUT is not None:
            with contextlib.suppress(OSError):  # it has just gone
                self._socket.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, int(1000 * unreachable_s))

    def close(self) -> None:
        """No more is written; what was goes out."""
        self._transport.close()

    def abort(self) -> None:
        """Cut the client off: what the kernel has of it still goes out, and that it was the end."""
        self._transport.abort()

    def reset(self) -> None:
        """The same, and nothing goes out any more: whoever sends something is told then that there is nobody."""
        if self._socket is not None and self._socket.fileno() >= 0:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


@contextlib.contextmanager
def gone_is_left() -> Iterator[None]:
    """A connection that is gone is a client that has left."""
    try:
        yield
    except ConnectionError as error:
        raise ClientLeft from error
