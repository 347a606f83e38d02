"""PURE. What is measured: the arms, and what each round of them gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bench.idle_record import Idle
from bench.media_record import SessionCost
from bench.messages import Result
from cli.load.processes import Memory

__all__ = ["ARMS", "BETWEEN", "RECORDING_ARMS", "Arm", "Cost", "LoadFailed", "Measurement", "Memory", "Opening", "Record"]

Arm = Literal["direct", "relay", "parley", "barest", "not recorded", "recorded"]
ARMS: tuple[Arm, ...] = ("direct", "relay", "parley")
"""client ↔ simulator, the floor; with the bare relay between them; with gateway, Redis and bridge between them.
`barest`, measured by `--floor` only: with the least between them that goes the same way"""

RECORDING_ARMS: tuple[Arm, ...] = ("not recorded", "recorded")
"""Two gateways of one deployment: at the other one all sessions are recorded, by the transcoder."""

BETWEEN: Mapping[Arm, tuple[str, ...]] = {
    "direct": (),
    "relay": ("relay",),
    "parley": ("gateway", "bridge", "redis"),
    "not recorded": ("gateway", "bridge", "redis", "transcoder"),
    "recorded": ("recording gateway", "bridge", "redis", "transcoder"),
    "barest": ("barest gateway", "barest bridge", "redis"),
}
"""The processes that an arm puts between client and simulator."""


class LoadFailed(Exception):
    """The load process has ended without a result."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process, in milliseconds of CPU per session and second."""

    own: float
    children: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """One arm of one round."""

    round: int
    sessions: int
    """that were open; their CPU is divided by these"""
    talking: int
    """of them; the others were silent, with the model's socket open"""
    arm: Arm
    clients: Result
    seconds: float
    """from the first look at the processes to the last"""
    cpu: dict[str, Cost]
    """`client` is the load process, `bench` the one that directs it"""
    busy: float
    """percent of all cores"""
    others: float
    """percent of all cores that none of our processes had: other users, interrupts, the kernel's own threads"""
    memory: dict[str, Memory]
    afterwards: float = 0.0
    """the transcoder's CPU when the sessions were over, for each second of one: a recording is made of what was kept"""


@dataclass(frozen=True, slots=True)
class Opening:
    """Sessions opened at once."""

    round: int
    sessions: int
    arm: Arm
    clients: Result


@dataclass(slots=True)
class Record:
    """All that was measured."""

    idle: dict[str, Memory]
    """before the first client came"""
    measurements: list[Measurement] = field(default_factory=list)
    openings: list[Opening] = field(default_factory=list)
    recordings: list[Measurement] = field(default_factory=list)
    """the same sessions, recorded and not"""
    idle_connections: list[Idle] = field(default_factory=list)
    opus: list[SessionCost] = field(default_factory=list)
