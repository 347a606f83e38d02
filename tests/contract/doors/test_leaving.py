"""Clients that hang up before they are answered: nothing is left of them, and nobody is told of a fault.

And a gateway that leaves: it takes no more of them.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import socket
import struct
from base64 import b64encode
from urllib.parse import urlsplit

import aiohttp
import pytest
import uvloop
from aiohttp.test_utils import TestClient, TestServer
from redis.asyncio import Redis

from gateway.app import create_app, serving
from gateway.appkeys import CONNECTIONS
from gateway.settings import GatewaySettings
from streams import keys, pcm, up
from streams.connection import connect
from streams.consumer import read
from streams.sessions import Session, Sessions
from tests.contract.doors.stage import LIMIT_S
from tests.contract.doors.watch_app import streaming, uploading

TRIES = 24
BURST = 40
"""Chunks that come at once."""
RESET = struct.pack("ii", 1, 0)
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


async def _leave(url: str, path: str, headers: str, *, reset: bool) -> None:
    """Ask, and be gone.

    From elsewhere, as this machine's own connections are not counted: so the gateway has something to ask Redis meanwhile.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n{headers}\r\n".encode())
    if reset:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    else:
        writer.write_eof()
        async with asyncio.timeout(LIMIT_S):
            await reader.read()
    writer.close()


async def _create(http: aiohttp.ClientSession, url: str) -> str:
    async with http.post(f"{url}/api/sessions", json={}) as response:
        return str((await response.json())["id"])


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/ws-mobile/ann{n}", UPGRADE),
        ("/realtime", UPGRADE),
        ("/v1/realtime", UPGRADE),
        ("/ws", UPGRADE),
        ("/realtime/stream?conversationId=c{n}", ""),
        ("/api/sessions/{id}/stream_audio", ""),
    ],
)
def test_who_leaves_before_the_answer(
    settings: GatewaySettings, caplog: pytest.LogCaptureFixture, path: str, headers: str
) -> None:
    """On the loop that a gateway has: between the end of what a client says and the end of its connection lies a moment."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_come_and_go(settings, path, headers))
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def _come_and_go(settings: GatewaySettings, path: str, headers: str) -> None:
    async with connect(settings.redis_url) as redis:
        await redis.flushall()
        async with serving(settings) as url, aiohttp.ClientSession() as http, asyncio.TaskGroup() as tasks:
            for n in range(TRIES):
                one = path.format(n=n, id=await _create(http, url) if "{id}" in path else "")
                tasks.create_task(_leave(url, one, headers, reset=n % 3 == 0))
        assert await redis.keys("parley:{*") == []
        assert await redis.zrange(keys.SESSIONS, 0, -1) == []


def test_who_leaves_in_the_middle_of_a_body(settings: GatewaySettings, caplog: pytest.LogCaptureFixture) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_break_off(settings))
    gc.collect()  # a task whose exception nobody has looked at says so when it goes
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def _break_off(settings: GatewaySettings) -> None:
    async with connect(settings.redis_url) as redis:
        await redis.flushall()
        async with serving(settings) as url, streaming(url) as stream:
            await stream.hear()
            session = await Sessions(redis).find("anonymous", "c1")
            assert session is not None
            for _ in range(TRIES):
                before = await redis.xlen(session.keys.pcm)
                async with uploading(url) as body, asyncio.timeout(LIMIT_S):
                    await body.send_chunk(b"ab")
                    while await redis.xlen(session.keys.pcm) == before:  # noqa: ASYNC110 - another process: no event
                        await asyncio.sleep(0.002)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/ws-mobile/ann"),
        ("GET", "/realtime"),
        ("GET", "/v1/realtime"),
        ("GET", "/ws"),
        ("GET", "/realtime/stream?conversationId=c"),
        ("POST", "/realtime/upload?conversationId=c"),
        ("GET", "/v1/realtime/sse"),
        ("POST", "/v1/realtime/audio?session=s"),
        ("GET", "/api/sessions/x/stream_audio"),
    ],
)
async def test_a_gateway_that_stops_takes_no_more(settings: GatewaySettings, redis: Redis, method: str, path: str) -> None:
    """Neither a WebSocket, nor a stream, nor a body that lasts: with a word that another gateway will."""
    app = create_app(settings)
    async with TestClient(TestServer(app)) as client:
        app[CONNECTIONS].draining = True
        response = await client.request(method, path)
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
        assert await response.json() == {"error": "This server restarts. Please connect again."}


async def test_what_is_said_into_an_upload_until_the_goodbye_is_heard_is_stored(
    settings: GatewaySettings, redis: Redis
) -> None:
    """A body that has no end: the gateway answers in the middle of it, and reads on until the client is gone."""
    app = create_app(settings)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        async with streaming(url) as stream, uploading(url) as body, asyncio.timeout(LIMIT_S):
            await stream.hear()
            session = await Sessions(redis).find("anonymous", "c1")
            assert session is not None
            await body.send_chunk(b"ab")
            while await audio_in(redis, session) != b"ab":  # noqa: ASYNC110 - another connection: no event
                await asyncio.sleep(0.002)
            sent_away = asyncio.create_task(app[CONNECTIONS].dismiss())
            await asyncio.sleep(0)
            await body.send_chunk(b"cd")
            answer = await body.read_answer()
            assert (answer.status, answer.headers["connection"]) == (503, "close")
            await body.send_chunk(b"ef")  # it was on its way
            while await audio_in(redis, session) != b"abcdef":  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            body.cut()
            await sent_away
            assert await audio_in(redis, session) == b"abcdef"


async def audio_in(redis: Redis, session: Session) -> bytes:
    entries = await read(redis, session.keys.pcm, pcm.decoder)
    return b"".join(entry.message.audio for entry in entries if isinstance(entry.message, pcm.Audio))


@pytest.mark.parametrize("answers", [True, False])
async def test_a_gateway_that_stops_says_so_once(settings: GatewaySettings, *, answers: bool) -> None:
    """A browser takes a second close for a fault, and tells its page that the connection was lost (1006)."""
    async with serving(settings) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        writer.write(f"GET /v1/realtime HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        assert (await _frame(reader))[0] == 0x81  # session.created
        frames = asyncio.create_task(_closes(reader, writer, answers=answers))
    async with asyncio.timeout(LIMIT_S):
        assert await frames == [1012]
    writer.close()


async def _frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The next of the server's, which masks nothing: its first byte, and what it carries."""
    first, size = await reader.readexactly(2)
    if size > 125:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
    return first, await reader.readexactly(size)


async def _closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> list[int]:
    """The codes of all close frames that come until the connection ends."""
    codes = []
    try:
        while True:
            first, data = await _frame(reader)
            if first == 0x88:
                codes.append(int.from_bytes(data[:2]))
                if answers:
                    writer.write(b"\x88\x82" + bytes(4) + data[:2])  # masked with nothing
    except (asyncio.IncompleteReadError, ConnectionError):
        return codes


async def test_a_gateway_that_stops_keeps_no_connection_for_the_next_request(
    settings: GatewaySettings, redis: Redis
) -> None:
    """It is answered, and then the client has to dial again: elsewhere."""
    app = create_app(settings)
    async with TestClient(TestServer(app)) as client:
        kept = await client.get("/livez")
        assert kept.headers.get("Connection", "keep-alive") == "keep-alive"
        app[CONNECTIONS].draining = True
        last = await client.get("/livez")
        assert (last.status, last.headers["Connection"]) == (200, "close")


@pytest.mark.parametrize("reset", [False, True])
def test_what_a_client_says_right_before_its_line_breaks_is_stored(settings: GatewaySettings, *, reset: bool) -> None:
    """All that has come, though the end of the connection comes with it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_say_and_go(settings, reset=reset))


async def _say_and_go(settings: GatewaySettings, *, reset: bool) -> None:
    async with connect(settings.redis_url) as redis, serving(settings) as url, asyncio.timeout(LIMIT_S):
        await redis.flushall()
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        writer.write(f"GET /ws/ann HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_text({"type": "ping"}))
        await reader.readuntil(b"pong")  # the connection is being listened to
        session = await Sessions(redis).find("ann", "ws/ann")
        assert session is not None
        chunks = [b"%02d" % n for n in range(BURST)]
        writer.write(b"".join(_text({"type": "audio", "data": b64encode(chunk).decode()}) for chunk in chunks))
        if reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()
        else:
            writer.write_eof()
        while await redis.exists(session.keys.attach):  # noqa: ASYNC110 - another connection: no event
            await asyncio.sleep(0.002)
        entries = await read(redis, session.keys.up, up.decoder)
        assert [entry.message.data for entry in entries if isinstance(entry.message, up.Chunk)] == chunks
        writer.close()


def _text(message: dict[str, str]) -> bytes:
    """A client's text frame, masked with nothing."""
    body = json.dumps(message).encode()
    assert len(body) < 126
    return bytes([0x81, 0x80 | len(body)]) + bytes(4) + body
