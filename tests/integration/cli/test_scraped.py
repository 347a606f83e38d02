"""What processes of a deployment say of themselves to `parley load --url`."""

from __future__ import annotations

from contextlib import AsyncExitStack

import aiohttp
import pytest

from cli.load.scraped import Scraped, figures, service_of
from realtime_bridge.metrics import Metrics as BridgeMetrics
from runtime.embedded import EmbeddedServer
from runtime.metrics import Metrics, exposed
from runtime.settings import Settings
from transcoder.metrics import Metrics as TranscoderMetrics

TOKEN = "t" * 16


async def given(stack: AsyncExitStack, metrics: Metrics, token: str | None = None) -> str:
    settings = Settings(PARLEY_METRICS_PORT=0, PARLEY_METRICS_TOKEN=token, REDIS_URL="redis://127.0.0.1:1")
    url = await stack.enter_async_context(exposed(metrics, settings))
    assert url is not None
    return url


async def test_every_service_is_told_by_its_name(redis_server: EmbeddedServer) -> None:
    """Two bridges are one service; Redis says it by INFO."""
    async with AsyncExitStack() as stack:
        urls = [await given(stack, each) for each in (BridgeMetrics(), BridgeMetrics(), TranscoderMetrics())]
        http = await stack.enter_async_context(aiohttp.ClientSession())
        alone = Scraped(http, (), urls[:1])
        scraped = Scraped(http, (), [urls[0], f"{urls[1]}/metrics", f"{urls[2]}/"], redis_url=redis_server.url)
        stack.push_async_callback(scraped.aclose)
        cpu, memory = await scraped.look()
        one_cpu, one_memory = await alone.look()
    assert set(cpu) == set(memory) == {"bridge", "transcoder", "redis"}
    assert all(value > 0 for value in (*cpu.values(), *memory.values()))
    assert memory["bridge"] == pytest.approx(2 * one_memory["bridge"], rel=0.1)
    assert set(one_cpu) == {"bridge"}


async def test_who_does_not_answer_counts_as_before() -> None:
    """Else all that it has ever used would be counted when it answers again."""
    async with aiohttp.ClientSession() as http:
        async with AsyncExitStack() as stack:
            scraped = Scraped(http, (), [await given(stack, BridgeMetrics())])
            before = await scraped.look()
        assert await scraped.look() == before


async def test_a_token_is_shown() -> None:
    async with AsyncExitStack() as stack:
        url = await given(stack, BridgeMetrics(), TOKEN)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        assert await Scraped(http, (), [url]).look() == ({}, {})
        cpu, _ = await Scraped(http, (), [url], token=TOKEN).look()
    assert set(cpu) == {"bridge"}


def test_what_is_no_metrics_says_nothing() -> None:
    assert figures("<html>not { these") == {}
    assert service_of({"process_cpu_seconds_total": 1.0}) == "others"
