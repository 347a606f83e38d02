"""The watch app as contract A describes it, in raw bytes: a reader that splits on LF alone, and a body without an end."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

LIMIT_S = 20.0
"""The longest that a test waits for anything."""


@dataclass
class Event:
    name: str
    data: str
    id: str | None = None


@dataclass
class Answer:
    """The head of an HTTP response, and the body of one that has a length."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Raw:
    """One HTTP/1.1 connection, written by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    @asynccontextmanager
    async def connected(cls, url: str) -> AsyncIterator[Raw]:
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        async with asyncio.timeout(LIMIT_S):
            await self._writer.drain()

    async def send_head(self, method: str, path: str, **headers: str) -> None:
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: watch.example",
            *(f"{k.replace('_', '-')}: {headers[k]}" for k in headers),
        ]
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n")

    async def send_chunk(self, data: bytes) -> None:
        """A piece of a chunked body; an empty one ends it."""
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def read_head(self) -> Answer:
        async with asyncio.timeout(LIMIT_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Answer(int(status.split()[1]), headers)

    async def read_answer(self) -> Answer:
        answer = await self.read_head()
        async with asyncio.timeout(LIMIT_S):
            answer.body = await self._reader.readexactly(int(answer.headers.get("content-length", "0")))
        return answer

    async def read_chunk(self) -> bytes:
        """Of a chunked body; empty at its proper end."""
        async with asyncio.timeout(LIMIT_S):
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            return (await self._reader.readexactly(size + 2))[:-2]

    async def read_eof(self) -> None:
        async with asyncio.timeout(LIMIT_S):
            assert await self._reader.read() == b""

    def cut(self) -> None:
        """The network is gone."""
        self._writer.transport.abort()


@dataclass
class Stream:
    """What the app does with its event stream."""

    raw: Raw
    answer: Answer
    events: list[Event] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    _rest: str = ""
    _lines: list[str] = field(default_factory=list)
    _ended: bool = False

    async def hear(self) -> Event:
        """The next event; an event whose data is in more than one line would lose all but the last, as the app does."""
        name, data, id_, heard = "", "", None, 0
        while True:
            line = await self._line()
            field_, _, value = line.partition(":")
            if line.startswith(":"):
                self.comments.append(line)
            elif field_ == "event":
                name = value.strip(" ")
            elif field_ == "data":
                data, heard = value.strip(" "), heard + 1
            elif field_ == "id":
                id_ = value.strip(" ")
            elif line == "" and name:
                assert heard == 1, "an event has exactly one line of data"
                self.events.append(Event(name, data, id_))
                return self.events[-1]
            else:
                assert line == "", line

    async def until(self, name: str) -> list[Event]:
        """All events up to and with the one of this name."""
        heard = [await self.hear()]
        while heard[-1].name != name:
            heard.append(await self.hear())
        return heard

    async def hear_end(self) -> None:
        """The stream ends properly, with nothing more in it."""
        while not self._ended:
            chunk = await self.raw.read_chunk()
            self._ended = not chunk
            assert not chunk or chunk.startswith(b":"), chunk

    async def _line(self) -> str:
        while not self._lines:
            chunk = await self.raw.read_chunk()
            assert chunk, "the stream has ended"
            *self._lines, self._rest = (self._rest + chunk.decode()).split("\n")
        return self._lines.pop(0)


@asynccontextmanager
async def streaming(url: str, query: str = "conversationId=c1", **headers: str) -> AsyncIterator[Stream]:
    """The app's `GET /realtime/stream`, answered."""
    async with Raw.connected(url) as raw:
        await raw.send_head("GET", f"/realtime/stream?{query}", Accept="text/event-stream", **headers)
        answer = await raw.read_head()
        if answer.status not in (200, 204):
            answer.body = await raw._reader.readexactly(int(answer.headers["content-length"]))
        yield Stream(raw, answer)


@asynccontextmanager
async def uploading(url: str, query: str = "conversationId=c1", **headers: str) -> AsyncIterator[Raw]:
    """The app's `POST /realtime/upload`, its body begun."""
    async with Raw.connected(url) as raw:
        kind = {"Content_Type": "application/octet-stream", "Transfer_Encoding": "chunked"}
        await raw.send_head("POST", f"/realtime/upload?{query}", **kind, **headers)
        yield raw


async def upload(url: str, *pieces: bytes, query: str = "conversationId=c1") -> Answer:
    """A whole body, in these pieces."""
    async with uploading(url, query) as raw:
        for piece in pieces:
            await raw.send_chunk(piece)
        await raw.send(b"0\r\n\r\n")
        return await raw.read_answer()


async def end(url: str, query: str = "conversationId=c1") -> Answer:
    """The app's `POST /realtime/end`."""
    async with Raw.connected(url) as raw:
        await raw.send_head("POST", f"/realtime/end?{query}", Content_Length="0")
        return await raw.read_answer()


def spoken(events: list[Event]) -> bytes:
    """The audio that was heard."""
    return b"".join(base64.b64decode(event.data, validate=True) for event in events if event.name == "audio_response")
