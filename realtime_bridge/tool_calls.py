"""Function calls go to the app's own backend: one signed POST each, tried again, never waited for without an end.

Whatever happens, the model gets an output: the JSON that the webhook has answered, or a short one that says why there is
none. What is called and what is answered never stands in a log.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp
import msgspec

from realtime_bridge.effects import CallTool
from realtime_bridge.personas import Personas
from realtime_bridge.settings import BridgeSettings
from realtime_bridge.signing import signed_headers, signing_keys
from realtime_bridge.tools import failure
from runtime import traces
from runtime.logs import SessionLogger

TRIES = 3

FIRST_WAIT_S = 0.2
"""Before the second try; each further wait is twice as long. Of each a random half is left out."""

UNWELL = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses after which another try may do."""


class Answer(NamedTuple):
    """What the model is told."""

    call_id: str
    output: str
    error: str | None = None
    """a code, when the output only says that there is none"""


class _NoOutput(Exception):
    """The call has come to nothing; the model is told."""

    def __init__(self, code: str, message: str, *, again: bool = False) -> None:
        self.code, self.message, self.again = code, message, again
        """another try may do"""
        super().__init__(code)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where calls go, and how many at a time. Shared by all sessions of a process."""

    http: aiohttp.ClientSession
    personas: Personas
    settings: BridgeSettings
    keys: tuple[bytes, ...] = field(repr=False)
    slots: asyncio.Semaphore
    """of the process"""

    @classmethod
    def of(cls, http: aiohttp.ClientSession, personas: Personas, settings: BridgeSettings) -> Webhook:
        keys = signing_keys(settings.tools_secret.get_secret_value()) if settings.tools_secret else ()
        return cls(http, personas, settings, keys, asyncio.Semaphore(settings.tools_at_once))

    def url(self, call: CallTool) -> str | None:
        """Where this function is; None when nobody offers it (any more)."""
        persona = self.personas.get(call.persona)
        tool = None if persona is None else persona.tool(call.name)
        return None if tool is None else tool.url or self.settings.tools_url


class ToolCaller:
    """The calls of one session. They outlive its upstream sockets, and end with `run`."""

    def __init__(self, webhook: Webhook, sid: str, log: SessionLogger, clear_to_act: Callable[[], Awaitable[None]]) -> None:
        self._webhook, self._sid, self._log = webhook, sid, log
        self._clear_to_act = clear_to_act
        """returns when what the model has said is recorded; raises when the session may be somebody else's by now"""
        self._slots = asyncio.Semaphore(webhook.settings.tools_at_once_per_session)
        self._begun: set[str] = set()
        self._wanted: asyncio.Queue[tuple[CallTool, str]] = asyncio.Queue()
        self._answers: asyncio.Queue[Answer] = asyncio.Queue()

    def call(self, call: CallTool, user: str) -> None:
        """Call it, unless that has been done."""
        if call.call_id not in self._begun:
            self._begun.add(call.call_id)
            self._wanted.put_nowait((call, user))

    async def answers(self) -> AsyncIterator[Answer]:
        """Each answer, as it comes."""
        while True:
            yield await self._answers.get()

    async def run(self) -> None:
        """Call what is wanted, until cancelled."""
        async with asyncio.TaskGroup() as calls:
            while True:
                call, user = await self._wanted.get()
                calls.create_task(self._answer(call, user), name=f"tool {self._sid}")

    async def _answer(self, call: CallTool, user: str) -> None:
        begun, error = time.monotonic(), None
        try:
            output = await self._output(call, user)
        except _NoOutput as none:
            error, output = none.code, failure(none.code, none.message)
        took_ms, now_ms = round((time.monotonic() - begun) * 1000), time.time() * 1000
        about = {"tool": call.name, "outcome": error or "answered"}
        traces.span(self._sid, "function", now_ms - took_ms, now_ms, about)
        extra = {"tool": call.name, "call": call.call_id, "took_ms": took_ms, "outcome": error or "answered"}
        if error is None:
            self._log.info("a function has answered", extra=extra)
        else:
            self._log.warning("a function has not answered: %s", error, extra=extra)
        self._answers.put_nowait(Answer(call.call_id, output, error))

    async def _output(self, call: CallTool, user: str) -> str:
        url = self._webhook.url(call)
        if url is None:
            raise _NoOutput("unknown_function", f"There is no function {call.name!r} any more.")
        has_slot = False
        try:
            async with asyncio.timeout(self._webhook.settings.tools_timeout_s), self._slots, self._webhook.slots:
                has_slot = True
                return await self._try_often(call, url, self._body(call, user))
        except TimeoutError:
            if not has_slot:
                raise _NoOutput("busy", "Too many functions run at the moment. Nothing was done.") from None
            message = "The function did not answer in time. Whether it was done is not known."
            raise _NoOutput("timeout", message) from None

    def _body(self, call: CallTool, user: str) -> bytes:
        return msgspec.json.encode(
            {
                "call_id": call.call_id,
                "name": call.name,
                "arguments": msgspec.Raw(call.arguments.encode()),
                "session": self._sid,
                "user": user,
                "persona": call.persona,
            }
        )

    async def _try_often(self, call: CallTool, url: str, body: bytes) -> str:
        wait_s = FIRST_WAIT_S
        for tries_left in reversed(range(TRIES)):
            await self._clear_to_act()
            try:
                return await self._post(call, url, body)
            except _NoOutput as none:
                if not none.again or not tries_left:
                    raise
                self._log.info("a function is called again: %s", none.code, extra={"call": call.call_id})
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s *= 2
        raise AssertionError("the last try returns or raises")

    async def _post(self, call: CallTool, url: str, body: bytes) -> str:
        # Whoever takes this session over calls under the same id: the receiver knows what it has done already.
        message_id = f"tool_{self._sid}_{call.call_id}"
        headers = signed_headers(message_id, int(time.time()), body, self._webhook.keys)
        headers |= {"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"}
        try:
            async with self._webhook.http.post(url, data=body, headers=headers, allow_redirects=False) as response:
                if response.status in UNWELL:
                    raise _NoOutput("failed", f"The function failed with HTTP status {response.status}.", again=True)
                if not 200 <= response.status < 300:
                    raise _NoOutput("refused", f"The function was refused with HTTP status {response.status}.")
                return _checked(await self._read(response))
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError):  # ours from outside, or aiohttp's own, which means the same
                raise
            raise _NoOutput("unreachable", "The function cannot be reached at the moment.", again=True) from error

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        most, body = self._webhook.settings.tools_max_bytes, bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > most:
                raise _NoOutput("too_large", f"The function was done, but its answer is larger than {most} bytes.")
        return bytes(body)


def _checked(body: bytes) -> str:
    """An answer as the model is told of it: JSON. None at all is an answer too."""
    if not body.strip():
        return "null"
    try:
        msgspec.json.decode(body)
        return body.decode()
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise _NoOutput("not_json", "The function was done, but its answer cannot be read.") from error
