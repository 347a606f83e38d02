"""What a process counts, in the Prometheus text format, and the port at which Prometheus asks for it.

Each service names its own metrics in a `metrics.py` of its own, on top of `Metrics`. A gateway gives them at its own port
(`gateway/health.py`) unless PARLEY_METRICS_PORT is set; the other services have no port but that one.
"""

from __future__ import annotations

import errno
import hmac
import logging
import os
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from runtime.errors import PortBusy, StartError

if TYPE_CHECKING:
    from aiohttp import web

    from runtime.settings import Settings

logger = logging.getLogger(__name__)

CONTENT_TYPE = CONTENT_TYPE_LATEST

WAIT_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""An entry is taken within a millisecond or two; a tenth of a second is heard."""

LONGEST_WAIT_S = 600.0
"""What seems to have waited for longer, or for less than nothing, was stamped by another clock."""


class Metrics:
    """One process's. Labels take values from closed sets only, never what a client sent."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series a counter, which nobody reads
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

    def exposition(self) -> bytes:
        """All of them, in the Prometheus text format."""
        return generate_latest(self.registry)


class QueueWait:
    """How long the entries of one stream waited, from being given to be stored to being taken. Call it with each.

    Two machines' clocks may differ: a wait of less than nothing is not counted among the others, but as skewed. Between two
    processes of one machine it is exact.
    """

    __slots__ = ("counts", "seconds", "skewed")

    def __init__(self) -> None:
        self.counts = [0] * (len(WAIT_BUCKETS_S) + 1)
        self.seconds = 0.0
        self.skewed = 0

    def __call__(self, waited_s: float) -> None:
        if 0.0 <= waited_s <= LONGEST_WAIT_S:
            self.counts[bisect_left(WAIT_BUCKETS_S, waited_s)] += 1
            self.seconds += waited_s
        else:
            self.skewed += 1


class QueueWaits(Collector):
    """The waits of all streams that a service reads, as a histogram and a counter of what is skewed.

    Not the library's own Histogram: that takes 2.4 µs for each entry of audio where this takes 0.6.
    """

    labels = ("stream",)

    def __init__(self, prefix: str, what: str, registry: CollectorRegistry) -> None:
        """`prefix`: of the metrics' names."""
        self._prefix, self._what = prefix, what
        self._streams: dict[str, QueueWait] = {}
        registry.register(self)

    def of(self, stream: str) -> QueueWait:
        """One more stream."""
        return self._streams.setdefault(stream, QueueWait())

    def describe(self) -> tuple[HistogramMetricFamily, CounterMetricFamily]:
        """Both, without a value."""
        skewed = "Waits that cannot be, because two machines' clocks differ; they are not among the others."
        return (
            HistogramMetricFamily(f"{self._prefix}_queue_wait_seconds", self._what, labels=self.labels),
            CounterMetricFamily(f"{self._prefix}_queue_waits_skewed", skewed, labels=self.labels),
        )

    def collect(self) -> Iterator[Metric]:
        """Both, as they are now."""
        waits, skewed = self.describe()
        bounds = [*map(str, WAIT_BUCKETS_S), "+Inf"]
        for stream, wait in self._streams.items():
            waits.add_metric([stream], list(zip(bounds, accumulate(wait.counts), strict=True)), wait.seconds)
            skewed.add_metric([stream], wait.skewed)
        yield from (waits, skewed)


def may_read(authorization: str, token: str) -> bool:
    """Whether these are the credentials of who may read the metrics."""
    scheme, _, shown = authorization.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(errors="replace"), token.encode())


@asynccontextmanager
async def exposed(metrics: Metrics, settings: Settings) -> AsyncIterator[str | None]:
    """Give the metrics at PARLEY_METRICS_PORT for as long as the context lasts; the address, None when there is no port set.

    Raises PortBusy, StartError.
    """
    if settings.metrics_port is None:
        yield None
        return
    from aiohttp import web  # a transcoder that nobody asks needs no HTTP server

    token = settings.metrics_token.get_secret_value() if settings.metrics_token else ""

    async def answer(request: web.Request) -> web.Response:
        if token and not may_read(request.headers.get("Authorization", ""), token):
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        return web.Response(body=metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.add_routes([web.get("/metrics", answer)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        url = await _listen(runner, settings.metrics_host, settings.metrics_port)
        logger.info("metrics are at %s/metrics", url)
        yield url
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> str:
    from aiohttp import web

    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortBusy(host, port, "PARLEY_METRICS_PORT") from error
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise StartError(
            f"Metrics cannot be given at {host}:{port} ({reason})."
            " Set PARLEY_METRICS_HOST to an address of this machine, and PARLEY_METRICS_PORT to a port that you may use."
        ) from error
    host, port = runner.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
