"""Clients of the openai door over plain HTTP: one that reads a stream line by line, and one that numbers what it posts."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from random import Random
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pybase64

from tests.contract.doors.openai_stage import LIMIT_S, OFFICIAL, Object, System, spoken


@dataclass(frozen=True)
class Answer:
    """To a request."""

    status: int
    body: Object
    headers: Object


class EventReader:
    """Reads a stream line by line, and lets the official types judge all that it hears."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.log: list[Object] = []
        self.last_id = ""
        """as an EventSource has it"""
        self.comments = 0

    @property
    def session(self) -> str:
        """From the first event."""
        first = self.log[0]
        return str(first["session"]["id"] if first["type"] == "session.created" else first["session"])

    async def hear(self) -> Object:
        """The next event. Raises EOFError when the stream ends."""
        name, lines = "", []
        async with asyncio.timeout(LIMIT_S):
            while True:
                line = (await self._response.content.readline()).decode()
                if not line:
                    raise EOFError
                assert line.endswith("\n")
                assert "\r" not in line
                field, _, value = line.removesuffix("\n").partition(": ")
                match field:
                    case "" if name:
                        break
                    case "":
                        self.comments += 1  # `: ok`, and the empty line behind it
                    case "event":
                        name = value
                    case "data":
                        lines.append(value)
                    case "id":
                        self.last_id = value
                    case _:
                        raise AssertionError(line)
        (data,) = lines
        event: Object = msgspec.json.decode(data)
        assert event["type"] == name
        if not name.startswith("parley."):
            OFFICIAL.validate_json(data, strict=True)
        self.log.append(event)
        return event

    async def until(self, wanted: str | Callable[[Object], bool]) -> list[Object]:
        """All events up to and with the one of this type."""
        events = [await self.hear()]
        while not (events[-1]["type"] == wanted if isinstance(wanted, str) else wanted(events[-1])):
            events.append(await self.hear())
        return events

    async def hear_end(self) -> list[Object]:
        """All that comes until the stream ends."""
        events = []
        with suppress(EOFError):
            while True:
                events.append(await self.hear())
        return events

    def cut(self) -> None:
        """The network is gone."""
        connection = self._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()


class Http:
    """The requests there are."""

    def __init__(self, parley: System) -> None:
        self._parley = parley

    def url(self, path: str, gateway: int = 0) -> str:
        return f"{self._parley.urls[gateway]}/v1/realtime/{path}"

    @asynccontextmanager
    async def listening(self, query: str = "", gateway: int = 0, last_id: str | None = None) -> AsyncIterator[EventReader]:
        """A stream, whose headers have been looked at."""
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        async with self._parley.http.get(self.url(f"sse?model=any{query}", gateway), headers=headers) as response:
            assert response.status == 200, await response.text()
            assert response.headers["Content-Type"] == "text/event-stream"
            yield EventReader(response)

    async def refused(self, query: str, last_id: str | None = None) -> Answer:
        """The answer to who may not listen."""
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        async with self._parley.http.get(self.url(f"sse{query}"), headers=headers) as response:
            return await self._answer(response)

    async def post(
        self, what: str, session: str, body: bytes | AsyncIterator[bytes] = b"", gateway: int = 0, **headers: str
    ) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url, data = self.url(f"{what}?session={session}", gateway), BytesIO(body) if isinstance(body, bytes) else body
        async with asyncio.timeout(LIMIT_S), self._parley.http.post(url, data=data, headers=named) as response:
            return await self._answer(response)

    async def say(self, session: str, *events: Object, gateway: int = 0) -> Answer:
        return await self.post("events", session, msgspec.json.encode(events), gateway)

    async def _answer(self, response: aiohttp.ClientResponse) -> Answer:
        body = await response.read()
        return Answer(response.status, msgspec.json.decode(body) if body else {}, dict(response.headers))


def append(audio: bytes, **fields: object) -> Object:
    return {"type": "input_audio_buffer.append", "audio": pybase64.b64encode_as_string(audio), **fields}


async def flowing(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    """A body that is sent as it is made."""
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)


class CuttingProxy:
    """Stands before one gateway, and cuts each connection after some bytes, anywhere in them."""

    def __init__(self, url: str, random: Random) -> None:
        self._gateway, self._random = urlsplit(url), random
        self.cutting = False
        self.cuts = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.StreamWriter] = set()

    @classmethod
    @asynccontextmanager
    async def before(cls, url: str, random: Random) -> AsyncIterator[tuple[CuttingProxy, str]]:
        """And its address."""
        proxy = cls(url, random)
        server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
        try:
            yield proxy, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for end in proxy._ends:
                end.transport.abort()
            await asyncio.gather(*proxy._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        assert self._gateway.port is not None
        up_reader, up_writer = await asyncio.open_connection(self._gateway.hostname, self._gateway.port)
        ends = {writer, up_writer}
        self._ends |= ends
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, up_writer, self._random.randrange(80_000)))
                both.create_task(self._pump(up_reader, writer, self._random.randrange(120_000)))
        except* (EOFError, ConnectionError):
            pass
        finally:
            for end in ends:
                end.transport.abort()
            self._ends -= ends
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: int) -> None:
        while data := await reader.read(4096):
            budget -= len(data)
            if self.cutting and budget < 0:
                self.cuts += 1
                writer.write(data[: self._random.randrange(len(data))])
                raise EOFError
            writer.write(data)
            await writer.drain()
        raise EOFError


class NumberedPoster:
    """A client of our extension over HTTP: it loses nothing and doubles nothing, whatever breaks.

    Its stream is at one gateway; each request goes to any.
    """

    def __init__(self, parley: System, random: Random) -> None:
        self._http, self._random, self._gateways = Http(parley), random, len(parley.urls)
        self.session: str | None = None
        self.sent = 0
        self.acked = 0
        self.heard: list[tuple[str, Object]] = []
        self.replies: list[Object] = []
        self.posts = 0
        self.is_broken = False
        """the stream has ended"""
        self._kept: deque[tuple[int, Object]] = deque()
        self._news, self._unsent = asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stream: EventReader
        self._stack = AsyncExitStack()

    async def connect(self, gateway: int) -> None:
        query = "&parley=1"
        if self.session is not None:
            query += f"&session={self.session}&after={self.heard[-1][0]}"
        self._stream = await self._stack.enter_async_context(self._http.listening(query, gateway))
        first = await self._stream.hear()
        if self.session is None:
            assert first["type"] == "session.created"
            self.session = first["session"]["id"]
            self.heard.append((first["did"], first))
        else:
            assert first["type"] == "parley.resumed", first
            assert first["after"] == self.heard[-1][0]
            self._forget(first["next_useq"] - 1)
        self._unsent.set()
        self.is_broken = False
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._post())]

    def append(self, audio: bytes) -> None:
        self.sent += 1
        self._kept.append((self.sent, append(audio, useq=self.sent)))
        self._unsent.set()

    async def redial(self, gateway: int) -> None:
        """Until it gets through."""
        await self.close()
        while True:
            try:
                return await self.connect(gateway)
            except (EOFError, aiohttp.ClientError, ConnectionError):
                await self._stack.aclose()

    async def cut(self) -> None:
        """Both lines break, wherever they are: what is under way is lost, or not."""
        self._stream.cut()
        await self.close()

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not done():
                self._news.clear()
                await self._news.wait()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for task in self._tasks:
            if not task.cancelled():
                task.result()
        self._tasks = []
        await self._stack.aclose()

    @property
    def audio(self) -> bytes:
        return spoken([event for _, event in self.heard])

    async def _read(self) -> None:
        with suppress(EOFError, aiohttp.ClientError, ConnectionError):
            while True:
                event = await self._stream.hear()
                if "did" in event:
                    self.heard.append((event["did"], event))
                else:
                    self.replies.append(event)
                self._news.set()
        self.is_broken = True
        self._news.set()

    async def _post(self) -> None:
        assert self.session is not None
        while True:
            await self._unsent.wait()
            self._unsent.clear()
            while self._kept:
                events = [event for _, event in self._kept]
                try:
                    answer = await self._http.say(self.session, *events, gateway=self._random.randrange(self._gateways))
                except (aiohttp.ClientError, ConnectionError):
                    continue
                self.posts += 1
                assert answer.status in (200, 409), answer
                if answer.status == 200:
                    assert answer.body["next_useq"] == answer.body["acked"] + 1
                    self._forget(answer.body["acked"])
                else:
                    assert answer.body["want"] >= self._kept[0][0], "it wants what was acknowledged"
                    self._forget(answer.body["want"] - 1)
            self._news.set()

    def _forget(self, useq: int) -> None:
        self.acked = max(self.acked, useq)
        while self._kept and self._kept[0][0] <= useq:
            self._kept.popleft()
