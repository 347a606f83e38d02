"""Each door as a client has it that speaks through the load balancer. A door is a function; `DOORS` has all of them.

A call says something (`begin`: until the first of the answer has been heard) and hears the rest (`finish`: all of it, in
order). In between its line may break (`redial`). What comes back must be what was said: the simulator echoes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Protocol

import aiohttp

from tests.acceptance.phone import Phone, calling
from tests.acceptance.test_redial import hang_up, numbers
from tests.acceptance.test_takeover import FRAME, coded
from tests.compose.stack import Stack
from tests.contract.doors.openai_stage import NumberedClient, System, coded_frame


class Call(Protocol):
    """A conversation through one door."""

    async def begin(self, seconds: float) -> None:
        """Say so much that has not been said before, and hear the first of the answer."""

    async def redial(self) -> None:
        """The line breaks without a goodbye, if it has not broken already, and is dialled again."""

    async def finish(self) -> None:
        """Hear the rest. Raises AssertionError when something is missing or out of order."""

    def sid(self) -> str:
        """The session's."""


Door = Callable[[Stack, str], AbstractAsyncContextManager[Call]]
"""Opens a call to the stack under a name."""


class MobileCall:
    """Declared PCM in which every 20 ms names its position; a redial may repeat what has not been known to arrive."""

    def __init__(self, stack: Stack, user: str) -> None:
        self._stack, self._user = stack, user
        self._line = AsyncExitStack()
        self._phone: Phone
        self._said = 0
        self._heard: list[int] = []
        self._carry = b""

    async def dial(self) -> None:
        url = self._stack.url.replace("http", "ws", 1)
        self._phone = await self._line.enter_async_context(calling(url, self._user, "?paced=0&input_format=pcm16"))

    async def begin(self, seconds: float) -> None:
        self._said, self._heard = round(seconds * 50), []
        await self._phone.send(coded(7, self._said).tobytes())
        while not self._heard:
            assert not await self._hear()

    async def redial(self) -> None:
        connection = self._phone.socket._response.connection
        if connection is not None and connection.transport is not None:
            hang_up(self._phone)
        await self.leave()
        self._carry = b""
        await self.dial()

    async def finish(self) -> None:
        # The end of the answer before may come once more, too, if it was not known to have arrived.
        while not await self._hear() or len(set(self._heard)) < self._said:
            pass
        firsts = list(dict.fromkeys(self._heard))
        assert firsts == list(range(1, self._said + 1)), self._heard

    def sid(self) -> str:
        return self._stack.sid_of(self._user, self._user)

    async def leave(self) -> None:
        await self._line.aclose()
        self._line = AsyncExitStack()

    async def _hear(self) -> bool:
        """One message; whether the answer is complete."""
        message = await self._phone.socket.receive(30)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        said = json.loads(message.data)
        if said["type"] == "audio_response":
            self._carry += base64.b64decode(said["audio"])
            whole = len(self._carry) - len(self._carry) % (2 * FRAME)
            self._heard += numbers(self._carry[:whole])
            self._carry = self._carry[whole:]
        assert said["type"] != "error", said
        return bool(said["type"] == "text_response")


@asynccontextmanager
async def mobile(stack: Stack, name: str) -> AsyncIterator[Call]:
    """JSON over a WebSocket, as the shipped app speaks it."""
    call = MobileCall(stack, name)
    await call.dial()
    try:
        yield call
    finally:
        await call.leave()


class _Behind(System):
    """What `NumberedClient` dials: one address, whoever is behind it."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http, self.urls = http, [url]


class RealtimeCall:
    """The OpenAI protocol with our extension: a redial neither loses nor doubles a byte."""

    def __init__(self, client: NumberedClient) -> None:
        self._client = client
        self._frames = 0
        self._done = 0

    async def dial(self) -> None:
        await self._client.connect(0)
        push_to_talk = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        await self._client.say("session.update", session=push_to_talk)

    async def begin(self, seconds: float) -> None:
        heard = len(self._client.audio)
        for _ in range(round(seconds)):
            said = range(self._frames, self._frames + 50)
            await self._client.append(b"".join(coded_frame(number) for number in said))
            self._frames += 50
        await self._client.say("input_audio_buffer.commit")
        await self._client.say("response.create")
        await self._client.until(lambda: len(self._client.audio) > heard)

    async def redial(self) -> None:
        if self._client.is_connected:
            await self._client.cut()
        else:
            await self._client.close()
        await self._client.connect(0)

    async def finish(self) -> None:
        self._done += 1
        await self._client.until(lambda: self._responses_done() == self._done)
        assert self._client.audio == b"".join(coded_frame(number) for number in range(self._frames))

    def sid(self) -> str:
        assert self._client.session is not None
        return self._client.session.removeprefix("sess_")

    def _responses_done(self) -> int:
        return sum(event["type"] == "response.done" for _, event in self._client.heard)


@asynccontextmanager
async def realtime(stack: Stack, name: str, query: str = "?parley=1") -> AsyncIterator[Call]:
    """`/v1/realtime` over a WebSocket, numbered and acknowledged."""
    async with aiohttp.ClientSession() as http:
        client = NumberedClient(_Behind(http, stack.url), query)
        call = RealtimeCall(client)
        await call.dial()
        try:
            yield call
        finally:
            await client.close()


def streamed(stack: Stack, name: str) -> AbstractAsyncContextManager[Call]:
    """The same through a transcoder: chunks of samples, which at the model's own rate stay as they are."""
    return realtime(stack, name, "?parley=1&input=pcm_s16le%2024000")


DOORS: tuple[Door, ...] = (mobile, realtime, streamed)
