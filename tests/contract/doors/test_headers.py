"""Heads that take too long or are none, on raw sockets; and what takes its time rightly."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from redis.asyncio import Redis

from gateway.app import serving
from gateway.settings import GatewaySettings
from runtime.embedded import EmbeddedServer

LIMIT_S = 20.0
TIMEOUT_S = 0.4
"""Where a head does not come; elsewhere a slow machine may take its time."""
HEAD = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = (
    b"GET /ws-mobile/ann HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
PING = b"\x89\x80\x00\x00\x00\x00"
PONG = b"\x8a\x00"


class Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def say(self, data: bytes) -> None:
        self._writer.write(data)

    async def hear_answer(self) -> bytes:
        """A head, and the body that it announces."""
        async with asyncio.timeout(LIMIT_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
            size = head.lower().partition(b"content-length:")[2].split()
            return head + await self._reader.readexactly(int(size[0]) if size else 0)

    async def hear(self, expected: bytes) -> None:
        async with asyncio.timeout(LIMIT_S):
            assert await self._reader.readexactly(len(expected)) == expected

    async def is_closed(self) -> None:
        """Without a word."""
        async with asyncio.timeout(LIMIT_S):
            assert await self._reader.read() == b""


@pytest.fixture
async def patient(redis_server: EmbeddedServer, redis: Redis) -> AsyncIterator[int]:
    """The port of one that waits longer."""
    async with serving(GatewaySettings(PORT=0, REDIS_URL=redis_server.url, PARLEY_HEADER_TIMEOUT_S=LIMIT_S)) as url:
        yield int(url.rsplit(":", 1)[1])


@pytest.fixture
async def port(redis_server: EmbeddedServer, redis: Redis) -> AsyncIterator[int]:
    async with serving(GatewaySettings(PORT=0, REDIS_URL=redis_server.url, PARLEY_HEADER_TIMEOUT_S=TIMEOUT_S)) as url:
        yield int(url.rsplit(":", 1)[1])


@asynccontextmanager
async def dialled(port: int) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Line(reader, writer)
    finally:
        writer.close()


async def another_is_closed(port: int) -> None:
    """Longer than the time limit: a connection that was made now has run into it."""
    async with dialled(port) as line:
        await line.is_closed()


@pytest.mark.parametrize("begun", [b"", b"G", b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"\r\n"])
async def test_a_head_that_does_not_come(port: int, begun: bytes) -> None:
    async with dialled(port) as line:
        line.say(begun)
        await line.is_closed()


async def test_a_head_that_drips(port: int) -> None:
    """Each byte is no new beginning."""
    async with dialled(port) as line:
        closing = asyncio.create_task(line.is_closed())
        line.say(b"GET /livez HTTP/1.1\r\nX: ")
        while not closing.done():
            line.say(b"a")
            await asyncio.wait([closing], timeout=0.01)
        with suppress(ConnectionResetError):  # what a byte is answered with that comes behind the close
            await asyncio.wait_for(asyncio.shield(closing), LIMIT_S)


async def test_a_head_in_pieces(patient: int) -> None:
    async with dialled(patient) as line:
        for at in range(len(HEAD)):
            line.say(HEAD[at : at + 1])
            await asyncio.sleep(0)
        assert b"200 OK" in await line.hear_answer()


async def test_the_next_head_has_as_long(port: int) -> None:
    """Once it has begun; until then the connection is idle, which it may be."""
    async with dialled(port) as line:
        line.say(HEAD)
        assert b"200 OK" in await line.hear_answer()
        await another_is_closed(port)
        line.say(b"\r\n")  # some clients send an empty line after a request: it begins nothing
        await another_is_closed(port)
        line.say(HEAD + HEAD)
        for _ in range(2):
            assert b"200 OK" in await line.hear_answer()
        line.say(HEAD[:10])
        await line.is_closed()


async def test_a_websocket_is_let_alone(port: int) -> None:
    async with dialled(port) as line:
        line.say(UPGRADE)
        assert b"101 Switching Protocols" in await line.hear_answer()
        await another_is_closed(port)
        line.say(PING)
        await line.hear(PONG)
        line.say(PING[:1])
        await another_is_closed(port)
        line.say(PING[1:])
        await line.hear(PONG)


async def test_a_body_is_let_alone(port: int) -> None:
    """Its time is for the door to limit."""
    async with dialled(port) as line:
        line.say(b"POST /v1/tickets HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        await line.hear(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert b"200 OK" in await line.hear_answer()
        line.say(b"ab")
        await another_is_closed(port)
        line.say(HEAD)
        assert b"200 OK" in await line.hear_answer()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"secret" * 2000 + b"\r\n\r\n",
        b"GET /realtime/stream?token=" + b"secret" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"POST /v1/tickets HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /realtime/end?conversationId=c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    ],
    ids=["version", "header", "address", "headers", "length", "chunk"],
)
async def test_what_is_no_http(patient: int, caplog: pytest.LogCaptureFixture, sent: bytes) -> None:
    """It is refused, and fills no log; nor does what it holds get into one."""
    caplog.set_level(logging.DEBUG)
    async with dialled(patient) as line:
        line.say(sent)
        head, _, body = (await line.hear_answer()).partition(b"\r\n\r\n")
        assert b" 400 " in head
        assert list(json.loads(body)) == ["error"]
        assert b"secret" not in body
        await line.is_closed()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert "secret" not in caplog.text
