"""PURE. What is measured: the arms, and what each round of them gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bench.messages import Result
from cli.load.processes import Memory

__all__ = ["ARMS", "BETWEEN", "Arm", "Cost", "Measurement", "Memory", "Opening", "Record"]

Arm = Literal["direct", "relay", "parley", "barest"]
ARMS: tuple[Arm, ...] = ("direct", "relay", "parley")
"""client ↔ simulator, the floor; with the bare relay between them; with gateway, Redis and bridge between them.
`barest`, measured by `--floor` only: with the least between them that goes the same way"""

BETWEEN: Mapping[Arm, tuple[str, ...]] = {
    "direct": (),
    "relay": ("relay",),
    "parley": ("gateway", "bridge", "redis"),
    "barest": ("barest gateway", "barest bridge", "redis"),
}
"""The processes that an arm puts between client and simulator."""


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
