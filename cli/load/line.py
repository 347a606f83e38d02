"""The way of one client to its gateways: a small proxy that can break it as networks do.

Each new connection goes to the next gateway, so that a redial lands elsewhere, and requests of one session everywhere.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import cast
from urllib.parse import urlsplit

from cli.load.packets import dropped, is_under_way

_PIECE = 16_384
_WINDOW = 8_192
"""Bytes: what our side takes while nobody reads. A network that drops packets takes none."""
_LOOK_S = 0.05
_SEGMENT = 1_400
"""Else loopback waits for a window as large as its packets."""


class Line:
    """Made for one client; `url` is where it dials."""

    def __init__(self, gateways: Sequence[str], first: int, source: str | None = None) -> None:
        """`source`: the address that its gateways see, one that nobody else has; packets of it can be dropped."""
        self._source = source
        self._gateways = [(str(parts.hostname), int(parts.port or 80)) for parts in map(urlsplit, gateways)]
        self._next = first
        self._pairs: set[_Pair] = set()
        self._dead: list[_Pair] = []
        self._server: asyncio.Server
        self._is_down = False
        self._flows = asyncio.Event()
        self._flows.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.address = ""
        """host:port"""

    async def open(self) -> None:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", 0))
        self._server = await asyncio.start_server(self._accept, sock=listening, limit=_PIECE)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pair in self._dead:
            pair.reset()

    def is_at(self, url: str) -> bool:
        """Whether a connection goes to this gateway now."""
        parts = urlsplit(url)
        return any(pair.address == (parts.hostname, parts.port) for pair in self._pairs)

    def cut(self) -> None:
        """Both ends are reset; the next dial gets through."""
        for pair in list(self._pairs):
            pair.reset()

    async def half_open(self, seconds: float) -> None:
        """Nothing gets through, new dials neither; then the client's network is back, its connections are gone.

        The gateways are not told: for them the old connections are there until they find out.
        """
        self._is_down = True
        pairs = list(self._pairs)
        for pair in pairs:
            pair.deafen()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._is_down = False
            self._dead += pairs
            for pair in pairs:
                pair.reset_client()

    async def stall(self, seconds: float) -> None:
        """What is sent meanwhile comes later."""
        self._flows.clear()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._flows.set()

    async def drop(self, seconds: float) -> bool:
        """The kernel drops all packets between here and the gateways, and both sides keep their connections.

        Returns when what was sent meanwhile has arrived, which TCP tries at intervals that double: whether any connection
        has outlived it. Raises LoadError where packets cannot be dropped.
        """
        assert self._source is not None
        pairs = set(self._pairs)
        async with dropped(self._source):
            await asyncio.sleep(seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * seconds + 1.0):
                while pairs & self._pairs and is_under_way(self._source):  # noqa: ASYNC110 - the kernel's: no event
                    await asyncio.sleep(_LOOK_S)
        return bool(pairs & self._pairs)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_down:
            return _reset(writer)
        self._next += 1
        task = asyncio.create_task(self._join(reader, writer, self._gateways[self._next % len(self._gateways)]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return None

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: tuple[str, int]) -> None:
        try:
            there_reader, there_writer = await _dial(address, self._source)
        except OSError:
            return _reset(writer)
        pair = _Pair(address, self._flows, reader, writer, there_reader, there_writer)
        self._pairs.add(pair)
        try:
            return await pair.carry()
        finally:
            self._pairs.discard(pair)


class _Pair:
    """A client's connection and the one to the gateway."""

    def __init__(
        self,
        address: tuple[str, int],
        flows: asyncio.Event,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there_reader: asyncio.StreamReader,
        there_writer: asyncio.StreamWriter,
    ) -> None:
        self.address, self._flows = address, flows
        self._reader, self._writer = reader, writer
        self._there_reader, self._there_writer = there_reader, there_writer
        self._is_deaf = False
        self._ended = asyncio.Event()

    async def carry(self) -> None:
        """Until one side ends."""
        ways = [
            asyncio.create_task(self._pump(self._reader, self._there_writer)),
            asyncio.create_task(self._pump(self._there_reader, self._writer)),
        ]
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({*ways, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not self._is_deaf and not self._ended.is_set():  # what the other side still says may be an answer
                await asyncio.wait({*ways, ended}, timeout=1.0)
        finally:
            for task in (*ways, ended):
                task.cancel()
            await asyncio.wait({*ways, ended})
            if not self._is_deaf:
                self._writer.close()
                self._there_writer.close()

    def reset(self) -> None:
        self._ended.set()
        _reset(self._writer)
        _reset(self._there_writer)

    def deafen(self) -> None:
        """Nothing is read any more."""
        self._is_deaf = True
        for end in (self._writer, self._there_writer):
            transport = cast("asyncio.Transport", end.transport)  # uvloop's is none by name
            if transport.is_reading():
                transport.pause_reading()

    def reset_client(self) -> None:
        self._ended.set()
        _reset(self._writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_PIECE):
                await self._flows.wait()
                if self._is_deaf:
                    await asyncio.Event().wait()
                writer.write(data)
                await writer.drain()
            if not self._is_deaf:
                writer.write_eof()
        except OSError:
            if not self._is_deaf:
                self.reset()


async def _dial(address: tuple[str, int], source: str | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    ours = socket.socket()
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW)
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        if source is not None:
            ours.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(ours, address)
        return await asyncio.open_connection(sock=ours, limit=_PIECE)
    except BaseException:
        ours.close()
        raise


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST, not FIN."""
    if (end := writer.get_extra_info("socket")) is not None and end.fileno() >= 0:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
