"""One run of the harness: clients, a model that can be looked into, and faults by a seeded schedule."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from cli.load.alignment import strangers
from cli.load.caller import Caller
from cli.load.doors.classes import CLASSES
from cli.load.faults import PACKETS, Fault, Kind, schedule
from cli.load.fleet import BACK_AFTER_S, DRAIN_S, Fleet
from cli.load.judgement import Figures, judge, lost_down, lost_up, went_back
from cli.load.ledger import Ledger
from cli.load.line import Line
from cli.load.packets import an_address
from cli.load.promises import broken, loosest
from cli.load.takeover import LIMIT_S, Takeover, Watch
from cli.load.witness import Witness

START_S = 1.0
"""What a process takes from its start until it serves."""
RECOVER_LIMIT_S = 90.0
"""After the last turn was begun."""
STALL_S = 0.03
"""So much later than it should be, and more was not a moment's work."""
_LOOK_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do. The same plan fails in the same way, as far as processes let it."""

    clients: tuple[str, ...]
    """their class, one for each session"""
    kinds: tuple[Kind, ...] = ()
    seconds: float = 20.0
    """how long turns are begun"""
    every_s: float = 8.0
    """between two faults"""
    seed: int = 1
    pause_s: float = 0.3
    """between an answer and the next turn"""
    speed: float = 2.0
    """of the model's answers, times real time"""
    each: int = 2
    """processes of each service"""
    bridges: int | None = None
    """another number of these"""


@dataclass(frozen=True)
class Session:
    """How one session went."""

    client: str
    number: int
    turns: int
    figures: Figures
    broken: tuple[str, ...]
    """promises"""
    lost: tuple[str, ...]
    """which frames, and when they were sent; and where it was heard again"""
    troubles: tuple[str, ...]
    """what it was told, and ran into"""
    breaks: tuple[str, ...]
    stalls: tuple[str, ...] = ()
    """when the harness stood still: the same for all"""


@dataclass(frozen=True)
class Result:
    plan: Plan
    sessions: tuple[Session, ...]
    faults: tuple[str, ...]
    """what happened to whom, and when"""
    continued: int = 0
    """times that the model was asked to go on with an answer that broke"""
    memory_mb: dict[str, float] = field(default_factory=dict)
    """of each process at the end"""
    takeovers: tuple[Takeover, ...] = ()
    """each session whose worker was killed"""
    bridged_twice: int = 0
    """times that a socket to the model was asked for a session that another one had already"""

    @property
    def is_kept(self) -> bool:
        return not self.broken and not any(session.broken for session in self.sessions)

    @property
    def broken(self) -> tuple[str, ...]:
        """What can be said of all sessions together."""
        return tuple(self._broken())

    def _broken(self) -> Iterator[str]:
        if self.bridged_twice:
            yield f"{self.bridged_twice} times the model was asked by two bridges in turn for one session"
        if orphans := sum(takeover.is_orphan for takeover in self.takeovers):
            yield f"{orphans} sessions had no worker {LIMIT_S:.0f} s after theirs was killed"

    def as_json(self) -> dict[str, Any]:
        plan = {**asdict(self.plan), "kinds": [kind.name for kind in self.plan.kinds]}
        return {**asdict(self), "plan": plan, "kept": self.is_kept}


def drawn(seed: int, before: int, count: int) -> list[int]:
    """PURE. The numbers of these sessions. Names of another run on the same fleet are other conversations: `before` is how
    many there were, and where nobody knows, the seed has to be another one."""
    return Random(f"{seed} {before}").sample(range(1 << 20, 1 << 30), count)


class Run:
    """Made in the loop. `ledgers` may be looked at while it goes on."""

    def __init__(
        self,
        plan: Plan,
        urls: Sequence[str],
        witness: Witness | None = None,
        ships: Fleet | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Without a witness both ways count as one: what is sent should be heard. Without ships nothing is broken."""
        assert ships is not None or not plan.kinds
        self.plan, self._urls, self._ships, self._witness, self._say = plan, urls, ships, witness, say
        self.callers: list[Caller] = []
        self.happened: list[str] = []
        self.takeovers: list[Takeover] = []
        self._began = 0.0

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time() - self._began

    async def go(self) -> Result:
        plan = self.plan
        self._began = asyncio.get_running_loop().time()
        continued = 0 if self._witness is None else self._witness.continued
        twice = 0 if self._witness is None else self._witness.bridged_twice
        faults = schedule(plan.seed, plan.kinds, plan.seconds, plan.every_s, lines=len(plan.clients))
        ledgers = {} if self._witness is None else self._witness.ledgers
        names = drawn(plan.seed, len(ledgers), len(plan.clients))
        drops = any(kind in PACKETS for kind in plan.kinds)
        for place, (client, number) in enumerate(zip(plan.clients, names, strict=True)):
            line = Line(self._urls, place, an_address() if drops else None)
            await line.open()
            ledger = ledgers[number] = Ledger(number, is_alone=self._witness is None)
            door = CLASSES[client](line.address, ledger, lambda: self.now)
            self.callers.append(Caller(door, line, Random(f"{plan.seed} {place}")))
        try:
            async with asyncio.timeout(plan.seconds + RECOVER_LIMIT_S), asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self._notice_stalls(), name="stalls")
                talking = [
                    tasks.create_task(self._break(faults), name="faults"),
                    *(tasks.create_task(caller.run(plan.seconds, plan.pause_s)) for caller in self.callers),
                ]
                await asyncio.wait(talking)
                watching.cancel()
            if self._ships is not None:
                await self._ships.awake()
        finally:
            for caller in self.callers:
                await caller.line.close()
        sessions = tuple(map(self._session, plan.clients, self.callers))
        continued = 0 if self._witness is None else self._witness.continued - continued
        twice = 0 if self._witness is None else self._witness.bridged_twice - twice
        memory_mb = {} if self._ships is None else self._ships.memory_mb()
        return Result(plan, sessions, tuple(self.happened), continued, memory_mb, tuple(self.takeovers), twice)

    async def _notice_stalls(self) -> None:
        """When nobody here was heard or sent for, since this process or the machine stood still."""
        while True:
            before = self.now
            await asyncio.sleep(_LOOK_S)
            if self.now - before > _LOOK_S + STALL_S:
                for caller in self.callers:
                    caller.ledger.stalls.append((before + _LOOK_S, self.now))

    async def _break(self, faults: Sequence[Fault]) -> None:
        async with asyncio.TaskGroup() as lines:
            for fault in faults:
                await asyncio.sleep(max(0.0, fault.at_s - self.now))
                if fault.kind.service is None:
                    caller = self.callers[fault.victim]
                    lines.create_task(self._break_line(caller, fault.kind))
                    continue
                if fault.kind.service == "redis":
                    lines.create_task(self._break_redis(fault))
                    continue
                await self._break_processes(fault, lines)

    async def _break_redis(self, fault: Fault) -> None:
        assert self._ships is not None
        kind = fault.kind
        self._happened(kind.name)
        for caller in self.callers:
            caller.broken(kind.name, until=self.now + kind.seconds + START_S)
        await self._ships.break_redis(fault)

    async def _break_processes(self, fault: Fault, watches: asyncio.TaskGroup) -> None:
        assert self._ships is not None
        watch, busy = None, set[int]()
        if fault.kind.how == "kill" and fault.kind.service in ("bridge", "transcoder"):
            watch = Watch(self._ships.redis, fault.kind.service)
            busy = await watch.busy()
        children = self._ships.befallen(fault, busy)
        if watch is not None:
            watch.pids = {child.process.pid for child in children if child.process is not None}
            await watch.begin(fault.kind.name)
        url = self._ships.breaks(fault, children)
        if watch is not None:
            watch.killed_at = time.time()
            watches.create_task(self._follow(watch, self.now))
        self._happened(f"{fault.kind.name}: {', '.join(child.spec.name for child in children)}")
        for caller in self.callers:
            until = self._until(caller, fault.kind, url)
            caller.broken(fault.kind.name, until=until, is_ahead=fault.kind.how == "restart")

    async def _follow(self, watch: Watch, killed_s: float) -> None:
        self.takeovers += await watch.follow(killed_s)

    def _until(self, caller: Caller, kind: Kind, url: str | None) -> float | None:
        """When this is over for this client; None when it is for it to find a gateway that lives."""
        if kind.how == "stop":
            return self.now + kind.seconds
        if url is not None and caller.line.is_at(url) and caller.door.is_one_line:
            return None
        drain_s = DRAIN_S if kind.how == "restart" else 0.0
        return self.now + drain_s + BACK_AFTER_S + START_S

    async def _break_line(self, caller: Caller, kind: Kind) -> None:
        self._happened(f"{kind.name}: client {self.callers.index(caller)}")
        match kind.how:
            case "cut":
                caller.broken(kind.name)
                caller.line.cut()
            case "half-open":
                caller.broken(kind.name)
                await caller.line.half_open(kind.seconds)
            case "drop":
                broken = caller.broken(kind.name)
                if await caller.line.drop(kind.seconds) and broken.end is None:  # it was not dialled again
                    broken.end, broken.loses = self.now, False
            case _:
                caller.broken(kind.name, until=self.now + kind.seconds)
                await caller.line.stall(kind.seconds)

    def _happened(self, what: str) -> None:
        self.happened.append(f"{self.now:.2f} s {what}")
        self._say(self.happened[-1])

    def _session(self, client: str, caller: Caller) -> Session:
        ours = caller.ledger
        others = ((ledger.session, ledger.spoken) for ledger in (each.ledger for each in self.callers) if ledger is not ours)
        ours.foreign_down += strangers(ours.unknown_down, others)
        figures = judge(ours)
        promise = loosest(client, self.plan.kinds, self.plan.speed)
        complaints = list(broken(promise, figures))
        if caller.over is not None:
            complaints.append(f"the session ended: {caller.over}")
        return Session(
            client,
            caller.ledger.session,
            caller.turns,
            figures,
            tuple(complaints),
            (*lost_up(caller.ledger), *lost_down(caller.ledger), *went_back(caller.ledger)),
            tuple(caller.ledger.troubles),
            tuple(f"{each.begin:.2f}–{each.end or 0:.2f} {each.cause}" for each in caller.ledger.breaks),
            tuple(f"{begin:.2f}–{end:.2f}" for begin, end in caller.ledger.stalls),
        )
