"""The recorder door of a gateway process that is killed, stopped, or not allowed to write."""

from __future__ import annotations

import asyncio
import resource
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from runtime.embedded import EmbeddedServer
from tests.integration.gateway.test_process import LIMIT_S, address, gateway, line_with

CHUNK = bytes(range(250)) * 4


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


class Browser:
    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def hear(self) -> str:
        return await self.ws.receive_str(timeout=LIMIT_S)

    async def ask(self, message: str | bytes) -> str:
        await (self.ws.send_bytes(message) if isinstance(message, bytes) else self.ws.send_str(message))
        return await self.hear()

    async def record(self, chunks: int) -> None:
        for _ in range(chunks):
            assert await self.ask(CHUNK) == "Received 1000 bytes"


@asynccontextmanager
async def recorder(server: EmbeddedServer, uploads: Path) -> AsyncIterator[tuple[Process, Browser]]:
    """A gateway process, and a browser that has connected to it."""
    environment = {"PORT": "0", "REDIS_URL": server.url, "PARLEY_UPLOADS": str(uploads)}
    async with (
        gateway(**environment) as process,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{await address(process)}/ws") as ws,
    ):
        browser = Browser(ws)
        assert (await browser.hear()).startswith("Connected! ")
        yield process, browser


def files(uploads: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in uploads.iterdir()}


async def test_a_killed_process_loses_nothing_that_it_acknowledged(redis_server: EmbeddedServer, uploads: Path) -> None:
    """And the next one leaves what it finds alone."""
    async with recorder(redis_server, uploads) as (process, browser):
        await browser.record(20)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    left = files(uploads)
    assert list(left.values()) == [CHUNK * 20]
    assert next(iter(left)).endswith(".webm.part")
    async with recorder(redis_server, uploads) as (_, browser):
        await browser.record(1)
        assert (await browser.ask("STOP_RECORDING")).startswith("✅ Recording saved! ")
    assert files(uploads).items() >= left.items()
    assert len(files(uploads)) == 2


async def test_sigterm_saves_what_is_recorded_and_tells_the_client(redis_server: EmbeddedServer, uploads: Path) -> None:
    async with recorder(redis_server, uploads) as (process, browser):
        await browser.record(3)
        process.send_signal(signal.SIGTERM)
        told = await browser.hear()
        closed = await browser.ws.receive(timeout=LIMIT_S)
        assert (closed.type, closed.data, closed.extra) == (
            aiohttp.WSMsgType.CLOSE,
            1012,
            "This server restarts. Please connect again.",
        )
        assert await process.wait() == 0
    ((name, data),) = files(uploads).items()
    assert data == CHUNK * 3
    assert told == f"✅ Recording saved! File: uploads/{name}, Size: 3000 bytes, Chunks: 3"


async def test_a_write_that_fails_half_way_is_taken_back(redis_server: EmbeddedServer, uploads: Path) -> None:
    """The operating system takes a part of the chunk and no more; what was acknowledged before is saved, and only that."""
    async with recorder(redis_server, uploads) as (process, browser):
        await browser.record(5)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (5500, 5500))
        told = await browser.ask(CHUNK)
        ((name, data),) = files(uploads).items()
        assert data == CHUNK * 5
        assert told == (
            "Error: This server cannot write the recording (File too large)."
            f" What came before is saved in uploads/{name}. Send START_RECORDING to begin another one."
        )
        assert (await browser.ask(CHUNK)).startswith("Error: This was not recorded")
        assert await browser.ask("STOP_RECORDING") == (
            f"✅ Recording saved! File: uploads/{name}, Size: 5000 bytes, Chunks: 5"
        )
        assert (await browser.ask("START_RECORDING")).startswith("🎤 ")
        await browser.record(5)


async def test_the_log_has_a_line_for_each_connection_and_recording(redis_server: EmbeddedServer, uploads: Path) -> None:
    async with asyncio.timeout(LIMIT_S), recorder(redis_server, uploads) as (process, browser):
        await browser.record(1)
        await browser.ws.close()
        await line_with(process, "a client of the recorder door has connected")
        assert "bytes=1000 chunks=1" in await line_with(process, "a recording is saved: uploads/websocket_recording_")
        await line_with(process, "a client of the recorder door is gone after")
