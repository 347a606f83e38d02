"""A load balancer that remembers nothing: the next connection goes to the next gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import cycle
from urllib.parse import urlsplit


@asynccontextmanager
async def round_robin(urls: Sequence[str]) -> AsyncIterator[str]:
    """In front of these gateways; its own address, ws://…"""
    addresses = cycle([(str(parts.hostname), int(parts.port or 0)) for parts in map(urlsplit, urls)])
    open_now: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_join(reader, writer, next(addresses)))
        open_now.add(task)
        task.add_done_callback(open_now.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in open_now:
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)
        await server.wait_closed()


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: tuple[str, int]) -> None:
    there_reader, there_writer = await asyncio.open_connection(*address)
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_carry(reader, there_writer))
            both.create_task(_carry(there_reader, writer))
    finally:
        for end in (writer, there_writer):
            end.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
