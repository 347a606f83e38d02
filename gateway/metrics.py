"""Every metric of the gateway: name, labels and meaning, in one place."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """One process's. Labels take values from closed sets only, never what a client sent."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series a counter, which nobody reads
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.connections = Gauge(
            "parley_gateway_connections", "Client connections that are open.", ["door"], registry=self._registry
        )
        self.sessions = Counter(
            "parley_gateway_sessions_started", "Sessions created for clients.", ["door"], registry=self._registry
        )
        self.messages = Counter(
            "parley_gateway_messages",
            "Messages from clients (received) and to clients (sent), by type; `refused` are those that could not be read.",
            ["door", "direction", "type"],
            registry=self._registry,
        )
        self.errors = Counter(
            "parley_gateway_errors",
            "What went wrong at the door, by code; see gateway/errors.py. `upstream`: a failure that the bridge reported.",
            ["door", "code"],
            registry=self._registry,
        )

        self.uplink_latency = Histogram(
            "parley_gateway_uplink_latency_seconds",
            "From a packet's own timestamp to its arrival, for clients that put one on it.",
            ["door"],
            buckets=(0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0),
            registry=self._registry,
        )

    def exposition(self) -> bytes:
        """All of them, in the Prometheus text format."""
        return generate_latest(self._registry)
