"""The operators' API of a gateway (docs/api.md), as the commands ask it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import quote

import aiohttp
import msgspec

from cli.errors import LineBroke, OperateError, Refused
from cli.load.lines import events
from cli.settings import CommandSettings, http_url

Right = Literal["operate", "listen"]

_SETTINGS = {"operate": "PARLEY_ADMIN_KEYS", "listen": "PARLEY_LISTEN_KEYS"}
_ANSWER_S = 10.0
_SILENT_S = 45.0
"""A stream says something every 12 s."""

Object = dict[str, Any]


class Operator:
    """Asks one gateway. Every call raises OperateError, whose sentence is for the person."""

    def __init__(self, http: aiohttp.ClientSession, url: str, keys: dict[Right, str]) -> None:
        self._http, self._url, self._keys = http, url.rstrip("/"), keys

    async def sessions(self, limit: int, user: str | None = None) -> Object:
        """The newest ones, as many as are asked for: over as many pages as that takes."""
        if user is not None:
            return await self._ask("operate", f"sessions?user={quote(user, safe='')}")
        found: list[Object] = []
        before = ""
        while True:
            page = await self._ask("operate", f"sessions?limit={min(100, limit - len(found))}{before}")
            found += page["sessions"]
            if page["next"] is None or len(found) >= limit:
                return {"sessions": found[:limit], "total": page["total"], "next": page["next"]}
            before = f"&before={quote(page['next'])}"

    async def gateways(self) -> list[Object]:
        listed: list[Object] = (await self._ask("operate", "gateways"))["gateways"]
        return listed

    async def end(self, sid: str, *, after_answer: bool) -> None:
        await self._ask("operate", f"sessions/{quote(sid, safe='')}/end", {"after_answer": after_answer})

    async def drain(self, gateway: str, *, wanted: bool) -> None:
        await self._ask("operate", f"gateways/{quote(gateway, safe='')}", {"drain": wanted})

    async def events(self, sid: str, *, audio: bool = False, words: bool = False) -> AsyncGenerator[Object | None, None]:
        """What happens from now on, until it is over. First of all None: the line is there."""
        right: Right = "listen" if audio or words else "operate"
        asked = "&".join(f"{name}=1" for name, wanted in (("audio", audio), ("words", words)) if wanted)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_ANSWER_S, sock_read=_SILENT_S)
        async with self._answered(right, f"sessions/{quote(sid, safe='')}/events?{asked}", None, timeout) as response:
            yield None
            try:
                async for event in events(response):
                    if event.name == "over":
                        return
                    if event.name == "entry":
                        yield msgspec.json.decode(event.data)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise LineBroke(f"The line to {self._url} broke.") from error
        raise LineBroke(f"{self._url} has ended the stream.")

    async def _ask(self, right: Right, path: str, body: Object | None = None) -> Object:
        async with self._answered(right, path, body, aiohttp.ClientTimeout(total=_ANSWER_S)) as response:
            answer: Object = await response.json()
            return answer

    @asynccontextmanager
    async def _answered(
        self, right: Right, path: str, body: Object | None, timeout: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer that is no refusal."""
        headers = {"Authorization": f"Bearer {self._key(right)}"}
        url, method = f"{self._url}/admin/api/{path}", "GET" if body is None else "POST"
        try:
            response = await self._http.request(method, url, json=body, headers=headers, timeout=timeout)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise LineBroke(f"There is no gateway at {self._url}: start one, or name another by --url.") from error
        except ValueError as error:
            raise OperateError(f"{self._url} is no address of a gateway: name one as http://host:8000.") from error
        async with response:
            if response.status >= 400:
                raise Refused(await _refusal(response), response.status)
            yield response

    def _key(self, right: Right) -> str:
        if key := self._keys[right] or (self._keys["listen"] if right == "operate" else ""):
            return key
        raise OperateError(f"{_SETTINGS[right]} is not set: it must have one of the gateway's keys.")


async def _refusal(response: aiohttp.ClientResponse) -> str:
    try:
        return str((await response.json())["error"])
    except (ValueError, KeyError, TypeError, aiohttp.ClientError):
        return f"The gateway answers {response.status}."


@asynccontextmanager
async def operator(url: str | None) -> AsyncIterator[Operator]:
    """With the first keys of the environment; without a URL the gateway that HOST and PORT name. Raises SettingsError."""
    settings = CommandSettings.load()
    named = {"operate": settings.admin_keys, "listen": settings.listen_keys}
    keys: dict[Right, str] = {}
    for right, value in named.items():
        found = value.get_secret_value().split() if value is not None else []
        keys[right] = found[0] if found else ""  # type: ignore[index]
    async with aiohttp.ClientSession() as http:
        yield Operator(http, url or http_url(settings.host, settings.port), keys)


async def session_of(asking: Operator, named: str) -> str:
    """The session with this id, or the newest of the user of this name. Raises OperateError."""
    sid = named.removeprefix("sess_")
    if len(sid) == 32 and set(sid) <= set("0123456789abcdef"):
        return sid
    found = (await asking.sessions(100, user=named))["sessions"]
    if not found:
        raise OperateError(f"There is no live session of the user '{named}': `parley sessions` lists all.")
    return str(max(found, key=lambda each: each["created_ms"])["id"])
