"""Every metric of the bridge: name, labels and meaning, in one place."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

from runtime.metrics import Metrics as ProcessMetrics
from runtime.metrics import QueueWaits

TURN_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""Between half a second and a whole one a listener begins to notice, so there they are fine."""


class Metrics(ProcessMetrics):
    """One process's. Labels take values from closed sets only, never what a client or a model's server sent."""

    def __init__(self) -> None:
        super().__init__()
        self._sessions = Gauge("parley_bridge_sessions", "Sessions that are bridged here.", registry=self.registry)
        self.turns = Counter(
            "parley_bridge_turns",
            "Turns of users, by what became of them: `heard` (its sound is on the client's wire), `unheard` (it was"
            " answered, and no client was there) or `unanswered` (no sound came, or the user went on first).",
            ["outcome"],
            registry=self.registry,
        )
        self.turn = Histogram(
            "parley_bridge_turn_seconds",
            "From the end of what a user said to the first sound of the answer on the client's wire.",
            buckets=TURN_BUCKETS_S,
            registry=self.registry,
        )
        self.stage = Histogram(
            "parley_bridge_turn_stage_seconds",
            "What one stage of a turn took: `commit` (end of speech to the model's commit), `model` (to its first sound),"
            " `delivery` (to the client's wire), `playback` (to the client's speaker, where it says so).",
            ["stage"],
            buckets=TURN_BUCKETS_S,
            registry=self.registry,
        )
        self.skewed = Counter(
            "parley_bridge_turn_stages_skewed",
            "Stages that cannot be, because two machines' clocks differ; they are not among the others.",
            ["stage"],
            registry=self.registry,
        )
        self.breaks = Counter(
            "parley_bridge_upstream_breaks", "Sockets to the model that broke in mid-session.", registry=self.registry
        )
        waits = QueueWaits(
            "parley_bridge",
            "From the moment when a gateway or a transcoder has said something (pcm) to the bridge's taking it.",
            self.registry,
        )
        self.pcm_wait = waits.of("pcm")

    def count_sessions(self, sessions: Callable[[], int]) -> None:
        """Ask this how many there are."""
        self._sessions.set_function(sessions)
