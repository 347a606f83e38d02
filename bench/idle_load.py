"""`python -m bench.idle_load ORDER`: event streams that are opened and listened to, and in which nothing is said.

In their own process, and each as little as it can be: a socket, and a count of the keepalives that came.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import msgspec
import uvloop

from bench.messages import IdleOrder, IdleReport
from cli.token import mint
from runtime.child import die_with_parent

AT_ONCE = 64
"""Connections under way while they are opened."""
PER_ADDRESS = 10_000
"""Connections from one address: the kernel has some 28,000 ports for each."""
OPEN_LIMIT_S = 120.0
"""Then those count that are open: on a machine that others use it takes long."""
TOKEN_LASTS_S = 3600.0


class Listener(asyncio.Protocol):
    """One client."""

    def __init__(self, request: bytes, opened: asyncio.Future[bytes]) -> None:
        self.keepalives = 0
        self.is_over = False
        self._request, self._opened = request, opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)  # uvloop's have another base
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._opened.done():
            self._opened.set_result(data.partition(b"\r\n")[0])
        self.keepalives += data.count(b": ping")

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True
        if not self._opened.done():
            self._opened.set_result(b"it was closed")


class Crowd:
    """All of them."""

    def __init__(self, order: IdleOrder) -> None:
        self._order = order
        self._url = urlsplit(order.url)
        self.listeners: list[Listener] = []
        self.refusals: list[str] = []

    async def open(self) -> float:
        """How many seconds that took."""
        began, numbers = time.monotonic(), iter(range(self._order.connections))
        with suppress(TimeoutError):
            async with asyncio.timeout(OPEN_LIMIT_S), asyncio.TaskGroup() as tasks:
                for _ in range(AT_ONCE):
                    tasks.create_task(self._open_some(numbers))
        return time.monotonic() - began

    async def _open_some(self, numbers: Iterator[int]) -> None:
        loop, host, port = asyncio.get_running_loop(), self._url.hostname or "", self._url.port or 80
        for number in numbers:
            opened: asyncio.Future[bytes] = loop.create_future()
            listener = Listener(self._request(number), opened)
            source = f"127.0.0.{1 + number // PER_ADDRESS}", 0
            await loop.create_connection(partial(_itself, listener), host, port, local_addr=source)
            self.listeners.append(listener)
            if not (status := await opened).startswith(b"HTTP/1.1 200"):
                self.refusals.append(status.decode(errors="replace"))

    def _request(self, number: int) -> bytes:
        token = mint(self._order.secret, f"u{number}", f"d{number}", time.time(), TOKEN_LASTS_S)
        path = self._url.path + (f"?{self._url.query}" if self._url.query else "")
        head = f"GET {path} HTTP/1.1\r\nHost: {self._url.netloc}\r\nAccept: text/event-stream\r\nUser-Agent: bench\r\n"
        return f"{head}Authorization: Bearer {token}\r\n\r\n".encode()

    def report(self, opened_s: float) -> IdleReport:
        """As it is now."""
        return IdleReport(
            sum(not each.is_over for each in self.listeners),
            opened_s,
            sum(each.keepalives for each in self.listeners),
            tuple(self.refusals[:5]),
        )


def _itself(listener: Listener) -> Listener:
    return listener


async def load(order: IdleOrder) -> None:
    """Open all and say so; then answer each line of standard input with how things are; at its end close all."""
    crowd = Crowd(order)
    opened_s = await crowd.open()
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while True:
        sys.stdout.buffer.write(msgspec.json.encode(crowd.report(opened_s)) + b"\n")
        sys.stdout.buffer.flush()
        if not await lines.readline():
            break


if __name__ == "__main__":
    if os.environ.get("PARLEY_PARENT_PID"):
        die_with_parent()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(load(msgspec.json.decode(sys.argv[1], type=IdleOrder)))
