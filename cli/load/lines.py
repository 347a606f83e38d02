"""Server-Sent Events, read as the watch reads them: line ends are \\n alone, and of an event's data the last line counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    data: str
    id: str | None


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    """Until the stream ends."""
    name, data, did, rest = "", "", None, b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in (line.decode().strip(" ") for line in lines):
            field, _, value = line.partition(":")
            if not line:
                if name or data:
                    yield Event(name, data, did)
                name, data, did = "", "", None
            elif field == "event":
                name = value.strip(" ")
            elif field == "data":
                data = value.strip(" ")
            elif field == "id":
                did = value.strip(" ")
