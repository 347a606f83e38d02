"""What load balancers and people ask."""

from __future__ import annotations

import asyncio
from importlib.metadata import version

import aiohttp
import pytest

from gateway.app import serving
from gateway.settings import GatewaySettings
from runtime.embedded import EmbeddedServer, free_port
from tests.contract.doors.stage import LIMIT_S, Stage


async def test_health_is_as_the_app_expects_it(stage: Stage) -> None:
    async with stage.http.get(f"{stage.url}/health") as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        assert await response.json() == {"status": "healthy", "service": "parley", "version": version("parley")}


async def test_it_lives_and_is_ready(stage: Stage) -> None:
    for path, status in (("livez", "live"), ("readyz", "ready")):
        async with stage.http.get(f"{stage.url}/{path}") as response:
            assert (response.status, await response.json()) == (200, {"status": status})


async def test_without_redis_it_lives_but_is_not_ready() -> None:
    with EmbeddedServer() as server:
        async with serving(GatewaySettings(PORT=0, REDIS_URL=server.url)) as url, aiohttp.ClientSession() as http:
            server.kill()
            async with http.get(f"{url}/readyz") as response:
                assert response.status == 503
                assert "Redis" in (await response.json())["reason"]
            async with http.get(f"{url}/livez") as response:
                assert response.status == 200
            server.start()
            async with http.get(f"{url}/readyz") as response:
                assert response.status == 200


async def test_metrics_count_what_happens(stage: Stage) -> None:
    async with stage.client() as client:
        await client.hear_nothing_more()
        await client.ask({"type": "what"})
        await client.ask({"type": "audio", "audio": ""})
        await client.hear_nothing_more()
        assert await stage.metric('parley_gateway_connections{door="mobile"}') == 1
        assert await stage.metric('parley_gateway_sessions_started_total{door="mobile"}') == 1
        messages = "parley_gateway_messages_total{direction="
        assert await stage.metric(f'{messages}"received",door="mobile",type="ping"}}') == 2
        assert await stage.metric(f'{messages}"received",door="mobile",type="refused"}}') == 1
        assert await stage.metric(f'{messages}"received",door="mobile",type="audio"}}') == 1
        assert await stage.metric(f'{messages}"sent",door="mobile",type="error"}}') == 2
        errors = "parley_gateway_errors_total{code="
        assert await stage.metric(f'{errors}"unknown_type",door="mobile"}}') == 1
        assert await stage.metric(f'{errors}"empty_audio",door="mobile"}}') == 1
    async with asyncio.timeout(LIMIT_S):
        while await stage.metric('parley_gateway_connections{door="mobile"}'):  # noqa: ASYNC110 - no event over HTTP
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("path", ["/nothing", "/ws-mobile/", "/ws-mobile/a/b"])
async def test_what_is_not_there_is_not_found(stage: Stage, path: str) -> None:
    async with stage.http.get(stage.url + path) as response:
        assert response.status == 404


async def test_a_plain_request_to_the_door_is_refused(stage: Stage) -> None:
    """And makes no session."""
    async with stage.http.get(f"{stage.url}/ws-mobile/ann") as response:
        assert response.status == 426
    assert await stage.redis.keys("*") == []


TOKEN = "a-token-of-metrics"


async def _metrics(http: aiohttp.ClientSession, url: str, **headers: str) -> int:
    async with http.get(f"{url}/metrics", headers=headers) as response:
        text = await response.text()
        assert ("parley_gateway_connections" in text) == (response.status == 200)
        return response.status


async def test_metrics_are_for_this_machine_only(stage: Stage) -> None:
    """Whoever comes by way of a proxy comes from elsewhere, whatever it says."""
    assert await _metrics(stage.http, stage.url) == 200
    assert await _metrics(stage.http, stage.url, **{"X-Forwarded-For": "203.0.113.7"}) == 403
    assert await _metrics(stage.http, stage.url, **{"X-Forwarded-For": "127.0.0.1"}) == 403
    assert await _metrics(stage.http, stage.url, Forwarded="for=127.0.0.1") == 403


async def test_a_proxy_that_is_trusted_says_who_asks_for_metrics(redis_server: EmbeddedServer) -> None:
    settings = GatewaySettings(PORT=0, REDIS_URL=redis_server.url, PARLEY_TRUSTED_PROXIES="127.0.0.1,10.0.0.0/8")
    async with serving(settings) as url, aiohttp.ClientSession() as http:
        assert await _metrics(http, url) == 200
        assert await _metrics(http, url, **{"X-Forwarded-For": "203.0.113.7"}) == 403
        assert await _metrics(http, url, **{"X-Forwarded-For": "203.0.113.7, 10.1.2.3"}) == 403


async def test_whoever_has_the_token_gets_metrics_from_anywhere(redis_server: EmbeddedServer) -> None:
    """And nobody else does."""
    settings = GatewaySettings(PORT=0, REDIS_URL=redis_server.url, PARLEY_METRICS_TOKEN=TOKEN)
    async with serving(settings) as url, aiohttp.ClientSession() as http:
        assert await _metrics(http, url) == 403
        shown = {"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "203.0.113.7"}
        assert await _metrics(http, url, **shown) == 200


async def test_metrics_may_have_a_port_of_their_own(redis_server: EmbeddedServer) -> None:
    """Then clients' port has none."""
    port = free_port()
    settings = GatewaySettings(PORT=0, REDIS_URL=redis_server.url, PARLEY_METRICS_PORT=port)
    async with serving(settings) as url, aiohttp.ClientSession() as http:
        assert await _metrics(http, url) == 404
        assert await _metrics(http, f"http://127.0.0.1:{port}") == 200
