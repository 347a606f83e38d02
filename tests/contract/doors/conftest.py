"""A real gateway on a free port, in front of a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from redis.asyncio import Redis

from gateway.app import serving
from gateway.settings import GatewaySettings
from runtime.embedded import EmbeddedServer
from streams.writer import Writer
from tests.contract.doors.stage import LIMIT_S, Stage


@pytest.fixture
def send_timeout_s() -> float:
    """Who is to be cut off has a short one (`clients_are_cut_off_soon`). Nobody else is, on a machine of any speed."""
    return 20.0


@pytest.fixture
def settings(redis_server: EmbeddedServer, send_timeout_s: float) -> GatewaySettings:
    return GatewaySettings(
        PORT=0,
        REDIS_URL=redis_server.url,
        PARLEY_MAX_FILE_BYTES=1 << 20,
        PARLEY_SEND_TIMEOUT_S=send_timeout_s,
        PARLEY_TRUSTED_PROXIES="127.0.0.1",
        PARLEY_REDIS_HIGH_WATER=0,  # a full Redis is how a test makes it refuse what it is asked to store
    )


@pytest.fixture
def nobody_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers late is only slow, where several have one name."""
    monkeypatch.setattr("streams.attach.PROBE_S", LIMIT_S)


@pytest.fixture
async def stage(settings: GatewaySettings, redis: Redis) -> AsyncIterator[Stage]:
    async with (
        serving(settings) as url,
        aiohttp.ClientSession() as http,
        Writer(redis) as writer,
    ):
        yield Stage(url, http, redis, writer)
