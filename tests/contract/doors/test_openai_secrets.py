"""Client secrets: what an app's server mints, and its page opens sessions with."""

from __future__ import annotations

import time
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError
from openai.types.realtime import ClientSecretCreateResponse
from pydantic import TypeAdapter
from redis.asyncio import Redis

from cli.token import mint
from runtime.embedded import EmbeddedServer
from simulator.options import Options
from tests.contract.doors.openai_stage import System, Talker, system

SECRET = "a-secret-of-" * 4
DAY_S = 86_400
AT_ONCE = Options(speed=0)
BEGINS: Any = {"type": "realtime", "instructions": "Be odd.", "audio": {"input": {"turn_detection": None}}}

pytestmark = pytest.mark.usefixtures("redis")


def server(parley: System) -> AsyncOpenAI:
    """The app's own: it has a token."""
    return AsyncOpenAI(
        api_key=mint(SECRET, "ann", "phone", time.time(), DAY_S), base_url=f"{parley.urls[0]}/v1", max_retries=0
    )


async def greeted(parley: System, key: str) -> Any:
    """The session that a page opens."""
    protocols = ("realtime", f"openai-insecure-api-key.{key}")
    async with parley.http.ws_connect(f"{parley.urls[0]}/v1/realtime?model=m", protocols=protocols) as ws:
        talker = Talker(ws)
        first = await talker.hear()
        if first["type"] == "session.created":
            await talker.say("response.create")
            await talker.until("response.done")
        return first


async def test_a_page_opens_sessions_with_what_its_server_has_minted(redis_server: EmbeddedServer, redis: Redis) -> None:
    """Several, as its own server wants them; it is told so, and the model too."""
    async with system(redis_server, AT_ONCE, secret=SECRET) as parley, server(parley) as client:
        secret = await client.realtime.client_secrets.create(
            session=BEGINS, expires_after={"anchor": "created_at", "seconds": 60}
        )
        TypeAdapter(ClientSecretCreateResponse).validate_json(secret.to_json(), strict=True)
        assert secret.value.startswith("ek_")
        (key,) = await redis.keys("parley:ticket:*")
        assert secret.value not in str(key)
        assert 50_000 < await redis.pttl(key) <= 60_000
        for number in range(2):
            created = await greeted(parley, secret.value)
            assert created["session"]["instructions"] == "Be odd."
            assert created["session"]["audio"]["input"]["turn_detection"] is None
            assert parley.simulator.sessions[number].config.wire["instructions"] == "Be odd."
        await redis.delete(key)
        assert (await greeted(parley, secret.value))["error"]["code"] == "invalid_api_key"


async def test_a_secret_needs_nothing_said(redis_server: EmbeddedServer) -> None:
    """And works where nobody is asked who they are, too."""
    async with system(redis_server, AT_ONCE) as parley, server(parley) as client:
        secret = await client.realtime.client_secrets.create()
        TypeAdapter(ClientSecretCreateResponse).validate_json(secret.to_json(), strict=True)
        assert (await greeted(parley, secret.value))["type"] == "session.created"
        secret = await client.realtime.client_secrets.create(session=BEGINS)
        assert (await greeted(parley, secret.value))["session"]["instructions"] == "Be odd."


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"expires_after": {"anchor": "created_at", "seconds": 9}}, "seconds"),
        ({"expires_after": {"anchor": "created_at", "seconds": 7201}}, "seconds"),
        ({"session": {"type": "transcription"}}, "type"),
        ({"session": {"instructions": "x"}}, "type"),
    ],
)
async def test_what_cannot_be_minted_is_told(redis_server: EmbeddedServer, asked: Any, told: str) -> None:
    async with system(redis_server, AT_ONCE) as parley, server(parley) as client:
        with pytest.raises(BadRequestError, match=told):
            await client.realtime.client_secrets.create(**asked)


async def test_there_is_no_secret_for_a_secret(redis_server: EmbeddedServer) -> None:
    async with system(redis_server, AT_ONCE, secret=SECRET) as parley, server(parley) as client:
        secret = await client.realtime.client_secrets.create()
        for path in ("realtime/client_secrets", "tickets"):
            headers = {"Authorization": f"Bearer {secret.value}"}
            async with parley.http.post(f"{parley.urls[0]}/v1/{path}", headers=headers) as answer:
                assert answer.status == 401
