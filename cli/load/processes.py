"""What the kernel says about processes and the machine: CPU time and memory. Linux."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
_KB = 1 << 10
_MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes."""

    rss: float
    pss: float
    """shared pages divided by those who share them"""


@dataclass(frozen=True, slots=True)
class Cpu:
    """Milliseconds since the process began, user and system together, of all its threads."""

    own: float
    children: float
    """of processes that it has started: those that live, and those that have ended and were waited for"""


@dataclass(frozen=True, slots=True)
class Machine:
    """Milliseconds of all cores together; only differences mean anything."""

    total: float
    idle: float


def cpu(pid: int) -> Cpu:
    """Raises FileNotFoundError, ProcessLookupError when it is gone."""
    own, waited_for = _cpu_times(pid)
    living = sum(sum(_cpu_times(child)) for child in descendants(pid))
    return Cpu(own, waited_for + living)


def memory(pid: int) -> Memory:
    """Raises FileNotFoundError, ProcessLookupError when it is gone."""
    kilobytes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        kilobytes[name] = int(value)
    return Memory(kilobytes["Rss:"] * _KB / _MB, kilobytes["Pss:"] * _KB / _MB)


def machine() -> Machine:
    """What was stolen by other guests of the host counts as busy: it was not there for us."""
    with open("/proc/stat") as file:
        idle, iowait = map(int, file.readline().split()[4:6])
    # The kernel measures idle time, but only samples the rest at its ticks: short work between two of them is not seen.
    return Machine(time.monotonic() * 1000 * (os.cpu_count() or 1), (idle + iowait) * _TICK_MS)


def descendants(pid: int) -> list[int]:
    """Children, and theirs."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *descendants(child)]
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has just ended
    return found


def _cpu_times(pid: int) -> tuple[float, float]:
    """(its own, that of ended children)"""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, children_user, children_system = map(int, fields[11:15])
    return (user + system) * _TICK_MS, (children_user + children_system) * _TICK_MS
