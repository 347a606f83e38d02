"""A load run that measures: clients come one after the other, speak in real time, think, interrupt, and wait for answers."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from cli.load import measure, processes
from cli.load.caller import Caller
from cli.load.doors.classes import CLASSES
from cli.load.ledger import Ledger
from cli.load.line import Line
from cli.load.measure import Measured, Sample
from cli.load.scraped import Scraped

SAMPLE_S = 1.0
FINISH_LIMIT_S = 60.0
"""After the last turn was begun."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What to do."""

    clients: tuple[str, ...]
    """their class, one for each session"""
    seconds: float = 30.0
    """how long turns are begun, from the first client on"""
    ramp_s: float = 0.0
    """over which the clients come"""
    think_s: float = 1.0
    """between an answer and the next turn, on average"""
    interrupts: float = 0.0
    """the part of the turns whose answers are interrupted"""
    seed: int = 1

    def described(self) -> dict[str, str]:
        names = dict.fromkeys(self.clients)
        return {
            "clients": ", ".join(f"{self.clients.count(name)} {name}" for name in names),
            "seconds": f"{self.seconds:g}",
            "ramp": f"{self.ramp_s:g} s",
            "think": f"{self.think_s:g} s",
            "interrupted": f"{self.interrupts:.0%} of the answers",
            "seed": str(self.seed),
        }


class Watched:
    """Processes of this machine, by service; and this one, the clients."""

    def __init__(self, pids: Mapping[str, Sequence[int]]) -> None:
        self._pids = {**pids, "clients": [os.getpid()]}

    async def look(self) -> tuple[dict[str, float], dict[str, float]]:
        """CPU in milliseconds and memory in megabytes."""
        cpu, memory = dict.fromkeys(self._pids, 0.0), dict.fromkeys(self._pids, 0.0)
        for service, pids in self._pids.items():
            for pid in pids:
                with suppress(FileNotFoundError, ProcessLookupError):
                    spent = processes.cpu(pid)
                    # Our own children are the services themselves.
                    cpu[service] += spent.own + (0.0 if service == "clients" else spent.children)
                    memory[service] += processes.memory(pid).pss
        return cpu, memory


class Measuring:
    """One run. Made in the loop; may be looked at while it goes on."""

    def __init__(self, load: Load, urls: Sequence[str], watched: Watched | Scraped) -> None:
        self.load = load
        self.callers: list[Caller] = []
        self.samples: list[Sample] = []
        self._urls, self._watched = urls, watched
        self._began = asyncio.get_running_loop().time()

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time() - self._began

    async def go(self) -> Measured:
        """To its end. A client whose session ends does not stop the others."""
        load = self.load
        self._began = asyncio.get_running_loop().time()
        names = Random(f"{load.seed} {os.getpid()}").sample(range(1 << 20, 1 << 30), len(load.clients))
        sampling = asyncio.create_task(self._sample(), name="samples")
        try:
            async with asyncio.timeout(load.seconds + FINISH_LIMIT_S), asyncio.TaskGroup() as tasks:
                for place, (client, number) in enumerate(zip(load.clients, names, strict=True)):
                    line = Line(self._urls, place)
                    await line.open()
                    door = CLASSES[client](line.address, Ledger(number, is_alone=True), lambda: self.now)
                    caller = Caller(door, line, Random(f"{load.seed} {place}"), interrupts=load.interrupts)
                    self.callers.append(caller)
                    tasks.create_task(self._run(caller, load.ramp_s * place / len(load.clients)))
        finally:
            sampling.cancel()
            await asyncio.wait([sampling])
            for caller in self.callers:
                await caller.line.close()
        return self.result()

    def result(self) -> Measured:
        """Of what was measured so far."""
        by_class: dict[str, list[Caller]] = {}
        for client, caller in zip(self.load.clients, self.callers, strict=False):
            by_class.setdefault(client, []).append(caller)
        classes = [
            measure.class_of(
                client,
                [(each.ledger, each.spoken, each.interrupted) for each in callers],
                [trouble for each in callers for trouble in (*each.ledger.troubles, *filter(None, [each.over]))],
            )
            for client, callers in by_class.items()
        ]
        turns = [turn for caller in self.callers for turn in measure.turns_of(caller.ledger, caller.spoken)]
        return measure.measured(self.load.described(), _machine(), classes, turns, self.samples)

    @property
    def connected(self) -> int:
        return sum(caller.is_connected.is_set() for caller in self.callers)

    async def _run(self, caller: Caller, after_s: float) -> None:
        await asyncio.sleep(max(0.0, after_s - self.now))
        await caller.run(self.load.seconds, self.load.think_s)

    async def _sample(self) -> None:
        while True:
            cpu, memory = await self._watched.look()
            self.samples.append(Sample(self.now, self.connected, cpu, memory))
            await asyncio.sleep(SAMPLE_S)


def _machine() -> dict[str, str]:
    return {
        "cores": f"{os.cpu_count()}",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }
