"""Ports chosen for programs that start later, kept from everybody else until we end.

The socket that holds one is bound and never listens. Linux lets a server that sets SO_REUSEADDR (asyncio, aiohttp and Redis
do) listen beside it, again after a crash too, while the kernel gives the number to nobody who asks for any free port.
"""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack
from types import TracebackType
from typing import Self

_HELD = sys.platform == "linux"
"""Elsewhere a bound socket would keep our own server out: there the number is free when it is chosen, and no more."""


class HeldPorts:
    """A context manager; what was taken is given back at its end."""

    def __init__(self) -> None:
        self._sockets = ExitStack()

    def take(self) -> int:
        """A TCP port that nobody has, on any address of this machine."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sockets.enter_context(sock)
        sock.bind(("", 0))
        port: int = sock.getsockname()[1]
        if not _HELD:
            sock.close()
        return port

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._sockets.close()
