"""Every metric of the gateway: name, labels and meaning, in one place."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from runtime.metrics import CONTENT_TYPE, QueueWaits
from runtime.metrics import Metrics as ProcessMetrics

__all__ = ["CONTENT_TYPE", "Metrics"]


class Metrics(ProcessMetrics):
    """One process's. Labels take values from closed sets only, never what a client sent."""

    def __init__(self) -> None:
        super().__init__()
        self.connections = Gauge(
            "parley_gateway_connections", "Client connections that are open.", ["door"], registry=self.registry
        )
        self.sessions = Counter(
            "parley_gateway_sessions_started", "Sessions created for clients.", ["door"], registry=self.registry
        )
        self.messages = Counter(
            "parley_gateway_messages",
            "Messages from clients (received) and to clients (sent), by type; `refused` are those that could not be read.",
            ["door", "direction", "type"],
            registry=self.registry,
        )
        self.errors = Counter(
            "parley_gateway_errors",
            "What went wrong at the door, by code; see gateway/errors/. `upstream`: a failure that the bridge reported.",
            ["door", "code"],
            registry=self.registry,
        )
        self.waiting = Gauge(
            "parley_gateway_workers_waiting",
            "Sessions that were handed to workers of a role and that none works on, in the whole deployment.",
            ["role"],
            registry=self.registry,
        )
        self.waiting_seconds = Gauge(
            "parley_gateway_workers_waiting_seconds",
            "How long the first of them has waited.",
            ["role"],
            registry=self.registry,
        )
        self.served = Gauge(
            "parley_gateway_workers_serving",
            "Sessions that workers of a role work on, in the whole deployment.",
            ["role"],
            registry=self.registry,
        )
        self.uplink_latency = Histogram(
            "parley_gateway_uplink_latency_seconds",
            "From a packet's own timestamp to its arrival, for clients that put one on it.",
            ["door"],
            buckets=(0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0),
            registry=self.registry,
        )
        waits = QueueWaits(
            "parley_gateway",
            "From the moment when a bridge (down) or a transcoder (play) has said something to a gateway's taking it.",
            self.registry,
        )
        self.down_wait, self.play_wait = waits.of("down"), waits.of("play")
