"""The port at which a process gives its metrics."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from prometheus_client import Counter, Histogram
from pydantic import ValidationError

from runtime.errors import PortBusy, StartError
from runtime.metrics import LONGEST_WAIT_S, WAIT_BUCKETS_S, Metrics, QueueWaits, exposed, may_read
from runtime.ports import HeldPorts
from runtime.settings import Settings

TOKEN = "a-token-of-metrics"


def settings(**values: Any) -> Settings:
    return Settings(**{f"PARLEY_METRICS_{name.upper()}": value for name, value in values.items()})


async def test_without_a_port_there_is_none() -> None:
    async with exposed(Metrics(), settings()) as url:
        assert url is None


async def test_prometheus_gets_what_is_counted() -> None:
    """As text that it reads, and nothing else is there."""
    metrics = Metrics()
    Counter("parley_test_things", "Things.", registry=metrics.registry).inc(3)
    async with exposed(metrics, settings(port=0)) as url, aiohttp.ClientSession() as http:
        async with http.get(f"{url}/metrics") as response:
            assert response.status == 200
            assert response.headers["Content-Type"].startswith("text/plain; version=")
            assert "parley_test_things_total 3.0" in (await response.text()).splitlines()
        async with http.get(f"{url}/") as response:
            assert response.status == 404


@pytest.mark.parametrize(
    ("shown", "status"), [(None, 401), ("Bearer no", 401), (f"Basic {TOKEN}", 401), (f"bearer {TOKEN}", 200)]
)
async def test_a_token_is_asked_for_where_one_is_set(shown: str | None, status: int) -> None:
    headers = {} if shown is None else {"Authorization": shown}
    async with (
        exposed(Metrics(), settings(port=0, token=TOKEN)) as url,
        aiohttp.ClientSession() as http,
        http.get(f"{url}/metrics", headers=headers) as response,
    ):
        assert response.status == status


async def test_a_port_that_somebody_has_is_told_with_what_to_do() -> None:
    with HeldPorts() as ports:
        port = ports.take()
        async with exposed(Metrics(), settings(port=port)):
            with pytest.raises(PortBusy, match="PARLEY_METRICS_PORT"):
                async with exposed(Metrics(), settings(port=port)):
                    pass


async def test_an_address_that_is_not_ours_is_told_with_what_to_do() -> None:
    with pytest.raises(StartError, match="PARLEY_METRICS_HOST"):
        async with exposed(Metrics(), settings(port=0, host="192.0.2.1")):
            pass


@pytest.mark.parametrize("token", ["short", ""])
def test_a_token_that_can_be_guessed_is_refused(token: str) -> None:
    with pytest.raises(ValidationError):
        settings(token=token)


def test_only_the_token_itself_will_do() -> None:
    assert may_read(f"Bearer {TOKEN}", TOKEN)
    assert not may_read(f"Bearer {TOKEN}x", TOKEN)
    assert not may_read("Bearer \udcff", TOKEN)


def test_a_wait_that_cannot_be_is_counted_apart() -> None:
    """Two machines' clocks differ: neither less than nothing nor an hour is a wait."""
    metrics = Metrics()
    wait = QueueWaits("parley_test", "Waits.", metrics.registry).of("up")
    for waited_s in (0.0, 0.002, -0.004, 3_600.0):
        wait(waited_s)
    exposition = metrics.exposition().decode()
    assert 'parley_test_queue_wait_seconds_count{stream="up"} 2.0' in exposition
    assert 'parley_test_queue_waits_skewed_total{stream="up"} 2.0' in exposition


def test_waits_are_the_histogram_that_the_library_would_make_of_them() -> None:
    """Each on the right side of each bound."""
    ours, theirs = Metrics(), Metrics()
    wait = QueueWaits("parley_test", "Waits.", ours.registry).of("up")
    name = "parley_test_queue_wait_seconds"
    histogram = Histogram(name, "Waits.", ["stream"], buckets=WAIT_BUCKETS_S, registry=theirs.registry).labels("up")
    for waited_s in (0.0, *WAIT_BUCKETS_S, 0.003, 0.0501, 11.0, LONGEST_WAIT_S):
        wait(waited_s)
        histogram.observe(waited_s)
    mine, expected = (
        {line for line in metrics.exposition().decode().splitlines() if line.startswith(name)} for metrics in (ours, theirs)
    )
    assert mine == expected
