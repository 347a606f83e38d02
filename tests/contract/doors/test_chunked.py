"""Bodies that are read as they come, by a door that does no more than that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
from aiohttp import web

from gateway.appkeys import METRICS
from gateway.errors import RequestRefused
from gateway.metrics import Metrics
from gateway.refusals import refusals
from gateway.transports import chunked
from gateway.transports.chunked import chunks, whole

LIMIT_S = 20.0
MAX_BYTES = 100_000
IDLE_S = 0.2
"""Where a body is to stall; elsewhere a slow machine may take its time."""


class Door:
    """A server with one way up, and what came in on it."""

    def __init__(self, port: int, heard: asyncio.Queue[bytes | str]) -> None:
        self.port, self.heard = port, heard

    @asynccontextmanager
    async def dial(
        self, *headers: str, path: str = "/up"
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Send the head of a request."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write("\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode())
        try:
            yield reader, writer
        finally:
            writer.close()

    async def hear(self) -> bytes | str:
        async with asyncio.timeout(LIMIT_S):
            return await self.heard.get()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    heard: asyncio.Queue[bytes | str] = asyncio.Queue()

    async def up(request: web.Request) -> web.Response:
        return await take(request, LIMIT_S)

    async def stalling(request: web.Request) -> web.Response:
        return await take(request, IDLE_S)

    async def take(request: web.Request, idle_s: float) -> web.Response:
        try:
            async with aclosing(chunks(request, max_bytes=MAX_BYTES, idle_s=idle_s)) as body:
                async for data in body:
                    heard.put_nowait(data)
        except RequestRefused as refused:
            heard.put_nowait(refused.code)
            raise
        heard.put_nowait("end")
        return web.Response(text="OK")

    async def slow(request: web.Request) -> web.Response:
        async with aclosing(chunks(request, max_bytes=None, idle_s=LIMIT_S, min_bytes_s=500.0)) as body:
            async for data in body:
                heard.put_nowait(data)
        return web.Response(text="OK")

    async def small(request: web.Request) -> web.Response:
        return web.Response(body=await whole(request, max_bytes=10, idle_s=LIMIT_S))

    async def large(request: web.Request) -> web.Response:
        return web.Response(body=await whole(request, max_bytes=MAX_BYTES, idle_s=LIMIT_S))

    app = web.Application(middlewares=[refusals])
    app[METRICS] = Metrics()
    app.add_routes([web.post(f"/{handler.__name__}", handler) for handler in (up, stalling, slow, small, large)])
    runner = web.AppRunner(app, access_log=None, read_bufsize=16 << 10, auto_decompress=False, lingering_time=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Door(runner.addresses[0][1], heard)
    await runner.cleanup()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The status, and all that follows until the server closes or the body is complete."""
    async with asyncio.timeout(LIMIT_S):
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length:")[2].split()[0])
        return int(head.split()[1]), await reader.readexactly(size)


async def closed(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(LIMIT_S):
        return await reader.read() == b""


async def test_what_came_is_given_before_the_rest_is_sent(door: Door) -> None:
    """The sender goes on only when the first piece was heard."""
    async with door.dial("Transfer-Encoding: chunked") as (reader, writer):
        for piece in (b"one", b"t", b"wo"):
            writer.write(chunk(piece))
            assert await door.hear() == piece
        writer.write(b"0\r\n\r\n")
        assert await door.hear() == "end"
        assert await answer(reader) == (200, b"OK")


async def test_more_than_allowed_is_413(door: Door) -> None:
    """Counted, when the client does not say how much it will be. What came before was given."""
    async with door.dial("Transfer-Encoding: chunked") as (reader, writer):
        writer.write(chunk(b"x" * MAX_BYTES))
        given = 0
        while given < MAX_BYTES:
            given += len(await door.hear())
        writer.write(chunk(b"y"))
        status, body = await answer(reader)
        assert status == 413
        assert body == b'{"error":"The request is too large: 100000 bytes are allowed. Send less at a time."}'
        assert await closed(reader)


async def test_a_length_that_is_too_large_is_refused_unread(door: Door) -> None:
    async with door.dial(f"Content-Length: {MAX_BYTES + 1}") as (reader, _):
        assert (await answer(reader))[0] == 413
        assert await door.hear() == "body_too_large"
        assert await closed(reader)


async def test_a_stalled_body_is_408(door: Door) -> None:
    async with door.dial("Transfer-Encoding: chunked", path="/stalling") as (reader, writer):
        writer.write(chunk(b"a") + b"5\r\nb")
        assert (await answer(reader))[0] == 408
        assert await closed(reader)


async def test_a_body_that_drips_is_408(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte at a time never idles, but it is too little."""
    monkeypatch.setattr(chunked, "RATE_WINDOW_S", 0.1)
    async with door.dial("Transfer-Encoding: chunked", path="/slow") as (reader, writer):
        answering = asyncio.create_task(answer(reader))
        while not answering.done():
            writer.write(chunk(b"a"))
            await asyncio.wait([answering], timeout=0.01)
        assert (await answering)[0] == 408


async def test_a_coded_body_is_415(door: Door) -> None:
    """Nothing is inflated on the way."""
    async with door.dial("Content-Encoding: gzip", "Content-Length: 2") as (reader, writer):
        writer.write(b"xx")
        assert (await answer(reader))[0] == 415


async def test_a_whole_body_may_not_drip_either(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much of it is still allowed."""
    monkeypatch.setattr(chunked, "RATE_WINDOW_S", 0.1)
    async with door.dial("Transfer-Encoding: chunked", path="/large") as (reader, writer):
        answering = asyncio.create_task(answer(reader))
        while not answering.done():
            writer.write(chunk(b"a"))
            await asyncio.wait([answering], timeout=0.01)
        assert (await answering)[0] == 408


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
async def test_identity_is_no_coding(door: Door, coding: str) -> None:
    async with door.dial(f"Content-Encoding: {coding}", "Content-Length: 2") as (reader, writer):
        writer.write(b"xx")
        assert (await answer(reader))[0] == 200


async def test_what_is_no_chunk_ends_the_request(door: Door) -> None:
    """aiohttp tells the handler nothing of it, so it counts as nothing."""
    async with door.dial("Transfer-Encoding: chunked", path="/stalling") as (reader, writer):
        writer.write(chunk(b"a"))
        assert await door.hear() == b"a"
        writer.write(b"nonsense\r\n")
        assert (await answer(reader))[0] == 408


async def test_a_client_that_leaves_in_the_middle_has_broken_off(door: Door) -> None:
    async with door.dial("Transfer-Encoding: chunked") as (_, writer):
        writer.write(chunk(b"a"))
        assert await door.hear() == b"a"
        writer.transport.abort()
        assert await door.hear() == "broken_body"


async def test_a_whole_body(door: Door) -> None:
    """And one that is too large."""
    async with door.dial("Content-Length: 10", path="/small") as (reader, writer):
        writer.write(b"0123456789")
        assert await answer(reader) == (200, b"0123456789")
    async with door.dial("Transfer-Encoding: chunked", path="/small") as (reader, writer):
        writer.write(chunk(b"0123456789a"))
        assert (await answer(reader))[0] == 413
