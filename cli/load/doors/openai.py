"""The OpenAI door with its extension: numbers, acknowledgements, push-to-talk. Over a WebSocket, and over plain HTTP."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec
import pybase64

from cli.load.doors.door import DIAL_LIMIT_S, REQUEST_LIMIT_S, Door, HttpDoor, Over, SocketDoor
from cli.load.doors.numbered import Numbered, Object
from cli.load.lines import events

PUSH_TO_TALK = {"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection": None}}}}


class _Talk(Door):
    """What both have in common."""

    speaks_silence = False
    keeps = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.line = Numbered()

    async def say(self, first: int, count: int) -> None:
        audio = pybase64.b64encode_as_string(self.speech(first, count))
        self.ledger.say(first, count, self.now())
        await self._tell({"type": "input_audio_buffer.append", "audio": audio})

    async def finish(self) -> None:
        await self._tell({"type": "input_audio_buffer.commit"})
        await self._tell({"type": "response.create"})

    async def interrupt(self) -> None:
        await self._tell({"type": "response.cancel"})

    @abstractmethod
    async def _tell(self, event: Object) -> None:
        """It is kept, and said again when the line is back."""

    def _greeted(self, first: Object) -> list[Object]:
        """The first event of a connection; what is to be said at once."""
        match first["type"]:
            case "session.created":
                self.line.session, self.line.after = first["session"]["id"], first["did"]
                return [self.line.number(PUSH_TO_TALK, self.now())]
            case "parley.resumed":
                return self.line.resumed(first["next_useq"])
            case _:
                raise Over(f"{first.get('error', first)}")

    def _heard(self, event: Object) -> int | None:
        """The number from which the server wants what was said again."""
        if "did" in event:
            self.line.after = event["did"]
        match event["type"]:
            case "response.output_audio.delta":
                self.hear(pybase64.b64decode(event["delta"]))
            case "parley.ack":
                self.line.ack(event["useq"])
            case "parley.want":
                return int(event["useq"])
            case "parley.resync":
                self.announce(f"resync {event['after']} … {event['from']}")
            case "error":
                self.trouble(event["error"]["message"])
            case _:
                pass
        return None


class OpenAi(_Talk, SocketDoor):
    """Over a WebSocket."""

    _is_connected = False

    @property
    def url(self) -> str:
        return f"{self.ws_url}/v1/realtime?parley=1{self.line.query}"

    async def greet(self) -> None:
        message = await self._socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise ConnectionError(f"no greeting, but {message.type.name} {message.data}")
        again = self._greeted(msgspec.json.decode(message.data))
        self._is_connected = True
        await self._say_all(again)

    async def receive(self, text: str) -> None:
        wanted = self._heard(msgspec.json.decode(text))
        if wanted is not None:
            await self._say_all(self.line.from_number(wanted))

    async def hang_up(self) -> None:
        self._is_connected = False
        await super().hang_up()

    async def _tell(self, event: Object) -> None:
        numbered = self.line.number(event, self.now())
        if self._is_connected:
            await self._say_all([numbered])

    async def _say_all(self, said: list[Object]) -> None:
        with suppress(ConnectionError, aiohttp.ClientError):
            for event in said:
                await self._socket.send_str(msgspec.json.encode(event).decode())


class OpenAiHttp(_Talk, HttpDoor):
    """Over Server-Sent Events and POST, each request at the gateway whose turn it is."""

    one_each = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._unsent = asyncio.Event()

    async def dial(self) -> None:
        async with asyncio.timeout(DIAL_LIMIT_S):
            self._response = await self._http.get(f"{self.http_url}/v1/realtime/sse?parley=1{self.line.query}")
            if self._response.status in (204, 404):
                raise Over(f"{self._response.status} {await self._response.text()}")
            if self._response.status != 200:
                raise ConnectionError(f"{self._response.status} {await self._response.text()}")
            self._events = events(self._response)
            async for event in self._events:
                self._greeted(msgspec.json.decode(event.data))
                break
            else:
                raise ConnectionError("the stream ended before its first event")
        self._unsent.set()
        self._upload_from_now_on()

    async def listen(self) -> None:
        async for event in self._events:
            heard = msgspec.json.decode(event.data)
            if heard["type"] == "parley.closed":
                if heard["code"] in (1000, 1011, 4404):
                    raise Over(str(heard))
                if heard["code"] != 1012:
                    self.trouble(f"closed: {heard}")
                return
            self._heard(heard)

    async def leave(self) -> None:
        async with asyncio.timeout(REQUEST_LIMIT_S):
            async with self._http.post(f"{self.http_url}/v1/realtime/end?session={self.line.session}"):
                pass

    async def _tell(self, event: Object) -> None:
        self.line.number(event, self.now())
        self._unsent.set()

    async def upload(self) -> None:
        while True:
            await self._unsent.wait()
            self._unsent.clear()
            while said := self.line.from_number(self.line.acked + 1)[:200]:
                try:
                    await self._post_once(said)
                except (aiohttp.ClientError, ConnectionError, TimeoutError):
                    await asyncio.sleep(0.2)

    async def _post_once(self, said: list[Object]) -> None:
        url = f"{self.http_url}/v1/realtime/events?session={self.line.session}"
        async with (
            asyncio.timeout(REQUEST_LIMIT_S),
            self._http.post(url, data=msgspec.json.encode(said)) as response,
        ):
            if response.status == 200:
                self.line.ack((await response.json())["acked"])
            elif response.status == 409:
                self.line.resumed((await response.json())["want"])
            else:
                self.trouble(f"events: {response.status} {(await response.text())[:200]}")
                await asyncio.sleep(0.5)
