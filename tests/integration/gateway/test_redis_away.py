"""Redis goes away while clients are connected."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aiohttp
import pytest
from redis.asyncio import Redis

from gateway.app import serving
from gateway.settings import GatewaySettings
from runtime.embedded import EmbeddedServer
from streams import producer
from streams.connection import connect

LIMIT_S = 20.0


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


async def is_stored(redis: Redis) -> bool:
    """Whether the first recording is, with all that goes before it."""
    found = await redis.keys("parley:{*}:up")
    return bool(found) and await redis.xlen(found[0]) >= 2


async def test_what_could_not_be_stored_may_be_sent_again(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is read all the while. When Redis is back it is empty: the session is gone, and that is told, too."""
    monkeypatch.setattr(producer, "GIVE_UP_AFTER_S", 0.1)
    settings = GatewaySettings(PORT=0, REDIS_URL=server.url)
    async with (
        asyncio.timeout(LIMIT_S),
        serving(settings) as url,
        aiohttp.ClientSession() as http,
        connect(server.url) as redis,
    ):
        async with http.ws_connect(f"{url}/ws-mobile/ann") as client:
            await client.send_str('{"type": "audio", "audio": "AAAA"}')
            while not await is_stored(redis):  # noqa: ASYNC110 - another task's work: no event
                await asyncio.sleep(0.005)
            server.kill()
            await client.send_str('{"type": "audio", "audio": "AAAA"}')
            await client.send_str('{"type": "ping"}')
            told = {(await client.receive()).data for _ in range(2)}
            assert '{"type":"pong"}' in told
            assert any("could not be stored, please send it again" in each for each in told)
            server.start()
            await client.send_str('{"type": "audio", "audio": "AAAA"}')
            while (message := await client.receive()).type is aiohttp.WSMsgType.TEXT:
                assert "The session has ended" in message.data
            assert message.data == 1011
        async with http.ws_connect(f"{url}/ws-mobile/ann") as client:
            await client.send_str('{"type": "ping"}')
            assert (await client.receive()).data == '{"type":"pong"}'


async def test_a_client_that_comes_meanwhile_is_told_to_come_later(server: EmbeddedServer) -> None:
    settings = GatewaySettings(PORT=0, REDIS_URL=server.url)
    async with asyncio.timeout(LIMIT_S), serving(settings) as url, aiohttp.ClientSession() as http:
        server.kill()
        async with http.ws_connect(f"{url}/ws-mobile/ann") as client:
            assert '"error"' in (await client.receive()).data
            assert (await client.receive()).data == 1013
