"""A phone of contract B, speaking plain JSON over a plain WebSocket."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp


@dataclass
class Answer:
    """All that came between a question and the end of its answer."""

    audio: bytes = b""
    text: str | None = None
    errors: list[str] = field(default_factory=list)


class Phone:
    """One connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def say(self, **message: Any) -> None:
        await self.socket.send_str(json.dumps(message))

    async def send(self, recording: bytes) -> None:
        """One recording."""
        await self.say(type="audio", audio=base64.b64encode(recording).decode())

    async def hear(self, within_s: float = 30.0) -> dict[str, Any]:
        """The next message."""
        message: dict[str, Any] = await self.socket.receive_json(timeout=within_s)
        return message

    async def answer(self, within_s: float = 30.0) -> Answer:
        """Collect until the answer's text (which comes after its last audio) or an error."""
        answer = Answer()
        async with asyncio.timeout(within_s):
            while True:
                message = await self.hear(within_s)
                match message["type"]:
                    case "audio_response":
                        answer.audio += base64.b64decode(message["audio"], validate=True)
                    case "text_response":
                        answer.text = message["text"]
                        return answer
                    case "error":
                        answer.errors.append(message["error"])
                        return answer
                    case _:
                        pass

    async def ask(self, recording: bytes, within_s: float = 30.0) -> Answer:
        """Send one recording and wait for its answer."""
        await self.send(recording)
        return await self.answer(within_s)


@asynccontextmanager
async def calling(url: str, user: str, query: str = "") -> AsyncIterator[Phone]:
    """A phone that is connected as this user."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/ws-mobile/{user}{query}", max_msg_size=0, compress=0) as socket,
    ):
        yield Phone(socket)
