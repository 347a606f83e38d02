"""The way of a client to its gateways, and how it breaks."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from cli.load.line import Line


async def test_a_gateway_is_not_told_of_a_line_that_goes_dead() -> None:
    """No FIN, no reset: it has to find out. What the client said before that has arrived; what it says after is lost."""
    arrived, began, ended = bytearray(), asyncio.Event(), asyncio.Event()

    async def gateway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(100):
                arrived.extend(data)
                began.set()
        ended.set()
        writer.close()

    server = await asyncio.start_server(gateway, "127.0.0.1", 0)
    line = Line([f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"], 0)
    await line.open()
    try:
        reader, writer = await asyncio.open_connection(*line.address.split(":"))
        writer.write(b"before")
        await began.wait()
        broken = asyncio.create_task(line.half_open(0.1))
        await asyncio.sleep(0)
        writer.write(b"meanwhile")
        await broken
        with suppress(ConnectionError):
            assert await reader.read() == b""  # the client's side is reset
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), 0.3)
        assert not ended.is_set()
        assert bytes(arrived) == b"before"
        writer.close()
    finally:
        await line.close()
        server.close()
    await asyncio.wait_for(ended.wait(), 5)
