"""PURE. What idle connections cost: what was measured, and what it is for each."""

from __future__ import annotations

from typing import Literal

import msgspec

from cli.load.processes import Memory

IdleArm = Literal["bare", "parley"]
"""A server of the same library that does nothing else; the gateway with its Redis."""


class Idle(msgspec.Struct, frozen=True, kw_only=True):
    """Of one arm."""

    arm: IdleArm
    connections: int
    """that were asked for"""
    open: int
    """at the end of the measurement: by these everything is divided"""
    refusals: tuple[str, ...]
    opened_s: float
    """until all were open"""
    seconds: float
    """while only keepalives went"""
    keepalives: int
    """that came in those"""
    cpu_ms_a_second: dict[str, float]
    """of each process, with all of its connections; `client` is that of the listeners"""
    busy: float
    """percent of all cores"""
    others: float
    memory_before: dict[str, Memory]
    """when one client had come and gone"""
    memory: dict[str, Memory]
    memory_after: dict[str, Memory]
    """when all have left: what an allocator keeps, or what is forgotten to be freed"""
    store_mb: float
    """what Redis itself has given out for them"""
    files: int
    """that the server has open for them"""
    files_left: int
    """still, when all have left"""
    left_s: float
    """until it had closed them"""

    @property
    def server(self) -> str:
        """The process that they are connected to."""
        return "relay" if self.arm == "bare" else "gateway"

    @property
    def kilobytes(self) -> float:
        """Of the server's memory, for each connection."""
        return self._kilobytes(self.memory)

    @property
    def kilobytes_left(self) -> float:
        """Still, for each that was there."""
        return self._kilobytes(self.memory_after)

    @property
    def store_kilobytes(self) -> float:
        """Of Redis's memory, for each session."""
        return self.store_mb * 1024 / max(1, self.open)

    def cpu_us(self, process: str) -> float:
        """Of one connection, each second: microseconds."""
        return self.cpu_ms_a_second[process] * 1000 / max(1, self.open)

    def _kilobytes(self, memory: dict[str, Memory]) -> float:
        return (memory[self.server].pss - self.memory_before[self.server].pss) * 1024 / max(1, self.open)
