"""Every metric of the transcoder: name, labels and meaning, in one place."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

from runtime.metrics import Metrics as ProcessMetrics
from runtime.metrics import QueueWaits


class Metrics(ProcessMetrics):
    """One process's. Labels take values from closed sets only, never what a client sent."""

    def __init__(self) -> None:
        super().__init__()
        self._sessions = Gauge("parley_transcoder_sessions", "Sessions that are transcoded here.", registry=self.registry)
        self.refused = Counter(
            "parley_transcoder_refused",
            "Recordings and streams that were refused, by code; see transcoder/errors.py.",
            ["code"],
            registry=self.registry,
        )
        self.decode = Histogram(
            "parley_transcoder_decode_seconds",
            "What one whole recording took to decode, with its wait for a decoder child.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
            registry=self.registry,
        )
        waits = QueueWaits(
            "parley_transcoder",
            "From the moment when a gateway (up) or a bridge (down) has said something to the transcoder's taking it.",
            self.registry,
        )
        self.up_wait, self.down_wait = waits.of("up"), waits.of("down")

    def count_sessions(self, sessions: Callable[[], int]) -> None:
        """Ask this how many there are."""
        self._sessions.set_function(sessions)
