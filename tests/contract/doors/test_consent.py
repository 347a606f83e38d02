"""A session says for itself whether it is recorded, at each door where JSON opens one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from redis.asyncio import Redis

from gateway.app import serving
from gateway.settings import GatewaySettings
from runtime.embedded import EmbeddedServer
from streams.writer import Writer
from tests.contract.doors.stage import Stage

SAYS: list[tuple[bool | None, str, bytes | None]] = [
    (None, "", b"0 "),
    (True, "", b"1 client"),
    (False, "", None),
    (True, "record=0", None),
    (True, "record=1", b"1 address"),
]
"""What the field says, what the address does, and how the session stands then: None is never recorded."""


@pytest.fixture
async def asking(redis_server: EmbeddedServer, redis: Redis) -> AsyncIterator[Stage]:
    """A deployment that records whoever agrees."""
    settings = GatewaySettings(PORT=0, REDIS_URL=redis_server.url, PARLEY_RECORD="ask")
    async with serving(settings) as url, aiohttp.ClientSession() as http, Writer(redis) as writer:
        yield Stage(url, http, redis, writer)


async def stands(redis: Redis) -> bytes | None:
    (marks,) = await redis.keys("parley:*:marks")
    stored = await redis.hget(marks, "recorded")
    assert not isinstance(stored, str)
    return stored


def fields(said: bool | None) -> dict[str, bool]:
    return {} if said is None else {"record": said}


@pytest.mark.parametrize(("said", "query", "how"), SAYS)
async def test_the_body_that_creates_an_ios_session(asking: Stage, said: bool | None, query: str, how: bytes | None) -> None:
    async with asking.http.post(f"{asking.url}/api/sessions?{query}", json=fields(said)) as created:
        sid = (await created.json())["id"]
    async with asking.http.post(f"{asking.url}/api/sessions/{sid}/upload_audio", data=bytes(640)) as stored:
        assert stored.status == 200
    assert await stands(asking.redis) == how


@pytest.mark.parametrize(("said", "query", "how"), SAYS)
async def test_the_phones_start_conversation(asking: Stage, said: bool | None, query: str, how: bytes | None) -> None:
    async with asking.http.ws_connect(f"{asking.url}/realtime?{query}") as phone:
        await phone.receive()
        await phone.send_json({"type": "start_conversation", "conversationId": "c", **fields(said)})
        assert (await phone.receive_json())["type"] == "conversation_started"
        assert await stands(asking.redis) == how


@pytest.mark.parametrize(("said", "how"), [(None, b"0 "), (True, b"1 token"), (False, None)])
async def test_what_a_client_secret_was_minted_with(asking: Stage, said: bool | None, how: bytes | None) -> None:
    """Also where nobody is asked who they are."""
    async with asking.http.post(f"{asking.url}/v1/realtime/client_secrets", json=fields(said)) as minted:
        secret = (await minted.json())["value"]
    async with asking.http.ws_connect(f"{asking.url}/v1/realtime?model=m&ticket={secret}") as client:
        assert json.loads((await client.receive()).data)["type"] == "session.created"
        assert await stands(asking.redis) == how
