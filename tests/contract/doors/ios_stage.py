"""What the tests of the iOS door stand on: a client that writes its HTTP by hand, on one connection that it keeps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

LIMIT_S = 20.0
"""The longest that a test waits for anything."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    """names in lower case"""
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["content-type"].startswith("application/json"), self.headers
        return json.loads(self.body)


class KeptConnection:
    """One keep-alive connection: one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, method: str, path: str, body: bytes | None = None, accept: str | None = None) -> None:
        head = f"{method} {path} HTTP/1.1\r\nHost: parley.test\r\n"
        if accept is not None:
            head += f"Accept: {accept}\r\n"
        if body is not None:
            head += f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n"
        self.writer.write(head.encode() + b"\r\n" + (body or b""))

    async def head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(LIMIT_S):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = (line.split(":", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.strip().lower(): value.strip() for name, value in fields}

    async def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        self.send(method, path, body)
        status, headers = await self.head()
        async with asyncio.timeout(LIMIT_S):
            return Answer(status, headers, await self.reader.readexactly(int(headers["content-length"])))

    async def post(self, path: str, body: bytes = b"") -> Answer:
        return await self.ask("POST", path, body)

    async def get(self, path: str) -> Answer:
        return await self.ask("GET", path)

    def stop_reading(self) -> None:
        """As an app does that was put to sleep."""
        transport = self.writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()

    async def create(self, **wanted: object) -> str:
        """A session; its id."""
        answer = await self.post("/api/sessions", json.dumps({"objective": "talk", "fileIds": [], **wanted}).encode())
        assert answer.status == 200, answer
        return str(answer.json["id"])

    async def upload(self, sid: str, body: bytes, query: str = "") -> Answer:
        return await self.post(f"/api/sessions/{sid}/upload_audio{query}", body)


class WavStream:
    """The answer to `stream_audio`, as the app reads it: 44 bytes are skipped, what follows is played."""

    def __init__(self, connection: KeptConnection, status: int, headers: dict[str, str]) -> None:
        self.connection, self.status, self.headers = connection, status, headers
        self.header = b""
        self.pcm = b""
        """all that has come"""
        self.over = False
        """the last chunk has come"""

    async def read(self) -> bytes:
        """The next chunk; empty when there is no other."""
        async with asyncio.timeout(LIMIT_S):
            size = int(await self.connection.reader.readuntil(b"\r\n"), 16)
            chunk = (await self.connection.reader.readexactly(size + 2))[:-2]
        self.over = not size
        missing = 44 - len(self.header)
        self.header += chunk[:missing]
        self.pcm += chunk[missing:]
        return chunk

    async def until_bytes(self, count: int) -> None:
        while len(self.pcm) < count:
            assert await self.read()

    async def until_heard(self, samples: int) -> None:
        """So many samples that are no silence."""
        while len(self.heard) < samples:
            assert await self.read()

    async def until_over(self) -> None:
        while not self.over:
            await self.read()

    @property
    def file(self) -> bytes:
        """All that has come, of a stream that is no WAV."""
        return self.header + self.pcm

    @property
    def heard(self) -> np.ndarray[Any, np.dtype[np.int16]]:
        """All samples but the silence. What the tests play has no zero in it."""
        samples = np.frombuffer(self.pcm[: len(self.pcm) // 2 * 2], "<i2")
        heard: np.ndarray[Any, np.dtype[np.int16]] = samples[samples != 0]
        return heard


@asynccontextmanager
async def kept(url: str) -> AsyncIterator[KeptConnection]:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield KeptConnection(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def listening(url: str, sid: str, query: str = "", accept: str | None = None) -> AsyncIterator[WavStream]:
    """A stream whose headers have come."""
    async with kept(url) as connection:
        connection.send("GET", f"/api/sessions/{sid}/stream_audio{query}", accept=accept)
        status, headers = await connection.head()
        yield WavStream(connection, status, headers)


def ramp(samples: int, first: int = 0) -> bytes:
    """Audio in which each sample tells its place, and none is 0."""
    return ((np.arange(first, first + samples) % 30_000) + 1).astype("<i2").tobytes()
