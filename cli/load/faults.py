"""PURE. What goes wrong in a run, and when: decided by a seed, so that a failure repeats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias, get_args

Service: TypeAlias = Literal["gateway", "transcoder", "bridge"]
SERVICES: tuple[Service, ...] = get_args(Service)

Target: TypeAlias = Service | Literal["redis"]

How: TypeAlias = Literal[
    "kill", "stop", "restart", "full", "slow", "cut", "half-open", "stall", "drop", "failover", "lose", "hang", "reshard"
]
"""kill: SIGKILL · stop: SIGSTOP, later SIGCONT · restart: SIGTERM · cut: a reset, both ways · half-open: all bytes are
dropped, then the client's side is reset, the gateway's never · stall: bytes wait, none is dropped · drop: the kernel drops
all packets of its connections, and no side is reset. Of Redis, restart:
SIGKILL, and again with its append-only file · full: nothing more can be stored · slow: 200 ms to each answer · cut: all
connections to it are reset, again and again · failover: its primary is killed, and a replica takes over · lose: the same,
and the replica lacks what was stored last · hang: the primary is stopped, wakes up when a replica has taken over, and has
to find out · reshard: slots move from one master of a Cluster to another"""

SLOW_MS = 200
LOST_MS = 400
"""How far a replica is behind that takes over."""

Setup: TypeAlias = Literal["one", "sentinels", "cluster"]
"""What the services have for a Redis: one server, a primary with a replica and Sentinels, a Cluster of three masters."""
_SETUPS: dict[How, Setup] = {"failover": "sentinels", "lose": "sentinels", "hang": "sentinels", "reshard": "cluster"}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault, as the command line and the page of promises call it."""

    how: How
    service: Target | None = None
    """whose process; None for the clients' lines"""
    seconds: float = 0.0
    """how long it lasts"""
    is_half: bool = False
    """it befalls half of all processes of the service at once"""

    @property
    def name(self) -> str:
        lasts = {"slow": f" {SLOW_MS} ms", "lose": f" {LOST_MS} ms", "failover": "", "reshard": ""}.get(
            self.how, f" {self.seconds:g} s" if self.seconds else ""
        )
        lasts += " half" if self.is_half else ""
        return f"{self.service} {self.how}{lasts}" if self.service else f"{self.how}{lasts}"

    @property
    def setup(self) -> Setup | None:
        """What Redis it takes; None where any will do."""
        return _SETUPS.get(self.how, "one") if self.service == "redis" else None


LINE = (
    Kind("cut"),
    *(Kind("half-open", seconds=s) for s in (1.0, 5.0, 25.0)),
    *(Kind("stall", seconds=s) for s in (1.0, 5.0)),
)
PACKETS = tuple(Kind("drop", seconds=s) for s in (1.0, 5.0, 25.0))
"""These need root and iptables."""
PROCESS = tuple(
    kind for service in SERVICES for kind in (Kind("kill", service), Kind("stop", service, 6.0), Kind("restart", service))
)
HALF = (Kind("kill", "bridge", is_half=True),)
REDIS = (
    Kind("restart", "redis", 1.0),
    Kind("full", "redis", 2.0),
    Kind("slow", "redis", 4.0),
    Kind("cut", "redis", 3.0),
    Kind("stall", "redis", 2.0),
)
SENTINELS = (Kind("failover", "redis", 4.0), Kind("lose", "redis", 4.0), Kind("hang", "redis", 8.0))
CLUSTER = (Kind("reshard", "redis", 4.0),)
KINDS = {kind.name: kind for kind in (*LINE, *PACKETS, *PROCESS, *HALF, *REDIS, *SENTINELS, *CLUSTER)}
TOGETHER = tuple(kind for kind in KINDS.values() if kind.setup in (None, "one") and kind not in PACKETS)
"""All that may happen in one run, to anybody: Redis is one server, or several, but not both."""


def setup(kinds: Iterable[Kind]) -> Setup:
    """What Redis these need. Raises ValueError when no one will do for all."""
    needed = {kind.setup for kind in kinds} - {None}
    if len(needed) > 1:
        raise ValueError("Redis cannot be one server and several.")
    return next((each for each in needed if each is not None), "one")


@dataclass(frozen=True, slots=True)
class Fault:
    """At a moment (seconds from the beginning) this happens to the process, or the client, at this place."""

    at_s: float
    kind: Kind
    victim: int
    """place in a list whose length nobody knows here: take it modulo that"""


def schedule(seed: int, kinds: Sequence[Kind], seconds: float, every_s: float, *, lines: int) -> tuple[Fault, ...]:
    """Faults of these kinds until the end. One that hits lines hits each of them, at a moment of its own.

    After the last one there is time to go on, and to be told.
    """
    random, faults, at = Random(seed), list[Fault](), every_s / 2
    while kinds and at < seconds - every_s / 2:
        kind = random.choice(kinds)
        moment = at + random.uniform(0.0, every_s / 2)
        if kind.service is None:
            faults += [Fault(at + random.uniform(0.0, every_s / 2), kind, line) for line in range(lines)]
        else:
            faults.append(Fault(moment, kind, random.randrange(1 << 16)))
        at += every_s + kind.seconds
    return tuple(sorted(faults, key=lambda fault: fault.at_s))
