"""The harness of `parley load --verify` before containers: their processes are killed, or restarted, one after another."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeAlias

from cli.load.doors.classes import NAMES
from cli.load.faults import KINDS, Fault
from cli.load.run import Plan, Run
from cli.load.witness import DELTA_MS, Witness
from simulator.options import Options
from simulator.server import running
from tests.compose.stack import Stack

How: TypeAlias = Literal["kill", "restart"]
SEEDS: dict[How, int] = {"kill": 1, "restart": 2}
"""Names are drawn from it: who calls in one of the runs has not called in the other, whose sessions may still be kept."""
EACH_S = 9.0
"""From one container to the next, unless it takes longer to be back."""
FIND_OUT_S = 3.0
"""What is back may be missed a moment longer: the load balancer asks each second, and looks names up each second."""
BACK_LIMIT_S = 60.0
MAY_HAPPEN = tuple(KINDS[name] for name in ("cut", "gateway restart", "transcoder restart", "bridge restart"))
"""The promises of these are kept, all at once. Redis has no line in that table: whoever numbers loses nothing by it, others
lose what they say meanwhile."""

UNLIMITED = {
    "PARLEY_MAX_CONNECTIONS_PER_USER": "0",
    "PARLEY_MAX_CONNECTIONS_PER_ADDRESS": "0",
    "PARLEY_MAX_SESSIONS_PER_USER": "0",
    "PARLEY_MAX_SESSIONS_PER_ADDRESS": "0",
}
"""All clients come from one address."""


def inspected(stack: Stack, container: str) -> dict[str, Any]:
    (told,) = json.loads(stack.docker("inspect", container))
    assert isinstance(told, dict)
    return told


def kill(stack: Stack, container: str) -> None:
    """Its process dies by SIGKILL, as by the kernel's hand; `docker kill` would tell the engine not to start it again."""
    os.kill(inspected(stack, container)["State"]["Pid"], signal.SIGKILL)


def restart(stack: Stack, container: str) -> None:
    """SIGTERM, as much time as the compose file gives it, and a start."""
    stack.docker("restart", container)


def until_back(stack: Stack, container: str, before: int) -> None:
    """Another process, and a health check that is content."""
    limit = time.monotonic() + BACK_LIMIT_S
    while (state := inspected(stack, container)["State"])["Pid"] in (0, before) or state["Health"]["Status"] != "healthy":
        assert time.monotonic() < limit, state
        time.sleep(0.1)


class InTurn(Run):
    """One client of each class, and one container after the other."""

    def __init__(self, stack: Stack, witness: Witness, services: Sequence[str], how: How) -> None:
        self._stack, self._how = stack, how
        self.victims = [(service, container) for service in services for container in stack.of(service)]
        self.away_s: list[tuple[str, float]] = []
        plan = Plan(clients=NAMES, kinds=MAY_HAPPEN, seconds=EACH_S * (len(self.victims) + 0.5), seed=SEEDS[how])
        super().__init__(plan, [stack.url], witness, _Nowhere())  # type: ignore[arg-type]

    async def _break(self, faults: Sequence[Fault]) -> None:
        for place, (service, container) in enumerate(self.victims):
            await asyncio.sleep(max(0.0, EACH_S * (place + 0.5) - self.now))
            before = await asyncio.to_thread(inspected, self._stack, container)
            for caller in self.callers:
                caller.broken(f"{service} {self._how}", until=self.now + BACK_LIMIT_S)
            breaks = [caller.ledger.breaks[-1] for caller in self.callers]
            began = self.now
            self._happened(f"{service} {self._how}: {container[:12]}")
            await asyncio.to_thread(kill if self._how == "kill" else restart, self._stack, container)
            await asyncio.to_thread(until_back, self._stack, container, before["State"]["Pid"])
            self.away_s.append((service, self.now - began))
            for each in breaks:
                each.end = self.now + FIND_OUT_S


class _Nowhere:
    """In the place of processes that the harness has started itself."""

    async def awake(self) -> None:
        """Each was waited for."""

    def memory_mb(self) -> dict[str, float]:
        return {}


@asynccontextmanager
async def watched(stack: Stack) -> AsyncIterator[Witness]:
    """Three gateways, two of each worker, and a model out here, where one can see what it is asked with."""
    await asyncio.to_thread(stack.up)
    (network,) = json.loads(stack.docker("network", "inspect", f"{stack.project}_model"))
    (address,) = network["IPAM"]["Config"]
    witness = Witness()
    options = Options(answer=witness, speed=2.0, delta_ms=DELTA_MS, think_s=0.1, record_s=0.0)
    async with running(options, host=address["Gateway"]) as model:
        settings = {
            **UNLIMITED,
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_API_KEY": "simulator",
            "PARLEY_TRANSCRIPTION_MODEL": "none",
            "PARLEY_DRAIN_S": "3",
        }
        with stack.told(gateways=3, workers=2, **settings):
            yield witness
