"""What the door tests stand on: a client that speaks raw JSON, and the other side of Redis, played by the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pybase64
import pytest
from redis.asyncio import Redis

from streams import down, keys, pcm, stopping, turns, up
from streams.attach import read_control
from streams.ids import ZERO, EntryId
from streams.messages import Message
from streams.producer import Chained, Producer, open_left
from streams.sessions import Session, Sessions, now_ms
from streams.writer import Writer
from tests.contract.streams.entries import hearing

LIMIT_S = 20.0
"""The longest that a test waits for anything."""

clients_are_cut_off_soon = pytest.mark.parametrize("send_timeout_s", [0.15])
"""Where a client does not read."""


class Client:
    """An app on the mobile door."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self._heard: asyncio.Queue[aiohttp.WSMessage] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read(), name="test client")

    async def _read(self) -> None:
        """Read all the time, as a phone does: only then are pings answered."""
        while True:
            message = await self.ws.receive()
            self._heard.put_nowait(message)
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                return

    async def leave(self) -> None:
        """Read no more."""
        self._reader.cancel()
        await asyncio.wait([self._reader])

    async def _next(self) -> aiohttp.WSMessage:
        async with asyncio.timeout(LIMIT_S):
            return await self._heard.get()

    async def say(self, message: object) -> None:
        """Send one JSON text frame."""
        await self.ws.send_str(json.dumps(message))

    async def say_audio(self, data: bytes) -> None:
        await self.say({"type": "audio", "audio": pybase64.b64encode_as_string(data)})

    async def hear(self) -> dict[str, Any]:
        """The next message; it must be a JSON text frame."""
        message = await self._next()
        assert message.type is aiohttp.WSMsgType.TEXT, message
        heard = json.loads(message.data)
        assert isinstance(heard, dict)
        return heard

    async def hear_audio(self) -> bytes:
        heard = await self.hear()
        assert list(heard) == ["type", "audio"], heard
        assert heard["type"] == "audio_response"
        return pybase64.b64decode(heard["audio"], validate=True)

    async def ask(self, message: object) -> dict[str, Any]:
        """Say one thing, hear one thing."""
        await self.say(message)
        return await self.hear()

    async def hear_nothing_more(self) -> None:
        """All that was said to this client has been heard: the answer to a ping is the next thing."""
        assert await self.ask({"type": "ping"}) == {"type": "pong"}

    async def hear_close(self) -> tuple[int, str]:
        """The code and the reason."""
        message = await self._next()
        assert message.type is aiohttp.WSMsgType.CLOSE, message
        return message.data, message.extra or ""


class Bridge:
    """The test as a bridge: the only one who writes to `down`."""

    def __init__(self, producer: Producer, redis: Redis, session: Session) -> None:
        self._producer, self._redis, self.session = producer, redis, session
        self._stops = 0

    async def say(self, *messages: Message) -> None:
        for future in [self._producer.append(message) for message in messages]:
            await future

    async def stop(self, *items: str) -> dict[tuple[str, int], int]:
        """Ask the gateway to stop, and how many ms of these items' first parts were heard: what it says."""
        self._stops += 1
        async with hearing(self._redis, self.session.keys.control) as ear:
            name = f"stop {self._stops}"
            await stopping.say(self._redis, self.session, stopping.Stop(name, tuple((item, 0) for item in items)))
            async with asyncio.timeout(LIMIT_S):
                async for message in ear.listen():
                    what, argument = read_control(message["data"]) if message["type"] == "smessage" else ("", "")
                    word = stopping.read(stopping.Stopped, argument) if what == "stopped" else None
                    if word is not None and word.stop == name:
                        return {(item, part): ms for item, part, ms in word.heard}
        raise AssertionError("the gateway has not said what was heard")

    async def say_event(self, type_: str, **fields: object) -> None:
        body = msgspec.Raw(msgspec.json.encode({"type": type_, **fields}))
        await self.say(down.ServerEvent(type_, body))

    async def say_audio(self, audio: bytes, *, response: str = "r1", item: str = "i1", start_ms: int = 0) -> None:
        await self.say(down.Audio(response, item, 0, start_ms, audio))

    async def say_text(self, text: str, *, response: str = "r1") -> None:
        await self.say_event("response.output_audio_transcript.done", response_id=response, transcript=text)

    async def say_done(self, *, response: str = "r1", status: str = "completed", details: object = None) -> None:
        body = {"id": response, "object": "realtime.response", "status": status, "status_details": details}
        await self.say_event("response.done", response=body)


class Stage:
    """A gateway's address, and Redis behind it."""

    def __init__(self, url: str, http: aiohttp.ClientSession, redis: Redis, writer: Writer) -> None:
        self.url, self.http, self.redis, self._writer = url, http, redis, writer

    @asynccontextmanager
    async def client(self, path: str = "/ws-mobile/ann") -> AsyncIterator[Client]:
        async with self.http.ws_connect(self.url + path, max_msg_size=0) as ws:
            client = Client(ws)
            try:
                yield client
            finally:
                await client.leave()

    async def session(self, user: str = "ann", name: str | None = None) -> Session:
        """The live session of this name, as soon as it is there."""
        sessions = Sessions(self.redis)
        async with asyncio.timeout(LIMIT_S):
            while (session := await sessions.find(user, name or user)) is None:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.005)
        return session

    async def session_by_id(self, session_id: str) -> Session:
        """The live session that the openai door calls so."""
        session = await Sessions(self.redis).by_sid(session_id.removeprefix("sess_"))
        assert session is not None
        return session

    async def bridge(self, session: Session) -> Bridge:
        """Take the session over, as a bridge does."""
        epoch = await open_left(self._writer, session.keys.turns, down.EpochTaken("test"), now_ms())
        await open_left(self._writer, session.keys.down, down.EpochTaken("test"), epoch)
        return Bridge(Producer(self._writer, session.keys.down, Chained(epoch)), self.redis, session)

    async def up(self, session: Session, count: int) -> list[tuple[EntryId, up.UpMessage]]:
        """The stream, as soon as it has so many entries (the first one is its birth)."""
        return [(at, up.decoder.decode(fields)) for at, fields in await self._entries(session.keys.up, count)]

    async def pcm(self, session: Session, count: int) -> list[tuple[EntryId, pcm.PcmMessage]]:
        return [(at, pcm.decoder.decode(fields)) for at, fields in await self._entries(session.keys.pcm, count)]

    async def opened(self, session: Session) -> turns.TurnsMessage:
        _, fields = (await self._entries(session.keys.turns, 1))[0]
        return turns.decoder.decode(fields)

    async def handed_out(self, role: keys.Role) -> list[str]:
        """The sids on the dispatch stream."""
        return [fields[b"sid"].decode() for _, fields in await self._range(keys.dispatch(role))]

    async def gone(self, key: str) -> None:
        """Wait until the key is."""
        async with asyncio.timeout(LIMIT_S):
            while await self.redis.exists(key):  # noqa: ASYNC110 - another process: no event
                await asyncio.sleep(0.005)

    async def detached(self, session: Session) -> None:
        """Wait until no connection has the session."""
        await self.gone(session.keys.attach)

    async def newest(self, session: Session) -> EntryId:
        """The last entry of `down`."""
        return (await self._range(session.keys.down))[-1][0]

    async def arrived(self, session: Session, entry: EntryId) -> None:
        """Wait until the gateway knows that this entry has reached the client."""
        sessions = Sessions(self.redis)
        async with asyncio.timeout(LIMIT_S):
            while (await sessions.cursor(session, "arrived") or ZERO) < entry:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.005)

    async def played(self, session: Session, entry: EntryId) -> None:
        """Wait until the gateway has heard that this entry was played."""
        sessions = Sessions(self.redis)
        async with asyncio.timeout(LIMIT_S):
            while (await sessions.cursor(session, "played") or ZERO) < entry:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.005)

    async def metric(self, line: str) -> float:
        """The value of the metric whose line begins so; 0 when there is none."""
        async with self.http.get(f"{self.url}/metrics") as response:
            for found in (await response.text()).splitlines():
                if found.startswith(f"{line} "):
                    return float(found.rsplit(" ", 1)[1])
        return 0.0

    async def _entries(self, stream: str, count: int) -> list[tuple[EntryId, dict[bytes, bytes]]]:
        async with asyncio.timeout(LIMIT_S):
            while len(entries := await self._range(stream)) < count:  # noqa: ASYNC110 - another process: no event
                await asyncio.sleep(0.005)
        assert len(entries) == count, entries
        return entries

    async def _range(self, stream: str) -> list[tuple[EntryId, dict[bytes, bytes]]]:
        entries: Any = await self.redis.xrange(stream)
        return [(EntryId.parse(at), fields) for at, fields in entries]
