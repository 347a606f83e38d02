"""`parley load --verify`: is anything lost? On a fleet of its own, which it breaks, or on a server that runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

import uvloop
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cli.errors import LoadError
from cli.load import report
from cli.load.doors.classes import CLASSES
from cli.load.faults import KINDS, PACKETS, TOGETHER, Kind, setup
from cli.load.fleet import Fleet, fleet
from cli.load.judgement import judge
from cli.load.packets import HOW, can_be_dropped
from cli.load.run import Plan, Result, Run
from cli.load.witness import Witness, model

_REFRESH_S = 0.5
_TABLE_WIDTH = 124
"""Characters: figures that are cut off are none. A narrower terminal wraps the lines."""


@dataclass(frozen=True)
class LoadOptions:
    """As they were typed."""

    urls: tuple[str, ...]
    """of a server that runs; none for a fleet of our own"""
    clients: tuple[str, ...]
    faults: tuple[str, ...]
    sessions: int
    seconds: float
    every_s: float
    seeds: tuple[int, ...]
    each: int
    bridges: int | None
    pause_s: float
    speed: float
    json: Path | None
    log: Path | None


def run(options: LoadOptions) -> int:
    """0 when every promise was kept, 1 when not. Raises LoadError, StartError."""
    plan = plan_of(options)
    console = Console(highlight=False)
    console.width = max(console.width, _TABLE_WIDTH)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(_runs(plan, options, console))
    console.print(report.table(report.total(results)))
    for sentence in report.takeovers(results):
        console.print(sentence, soft_wrap=True)
    for sentence in (sentence for result in results for sentence in report.sentences(result)):
        console.print(sentence, style=None if sentence.startswith(" ") else "red", soft_wrap=True, markup=False)
    if options.json is not None:
        report.write(results, options.json)
    kept = all(result.is_kept for result in results)
    console.print("Every promise was kept." if kept else "Not every promise was kept.", style="bold")
    return 0 if kept else 1


def plan_of(options: LoadOptions) -> Plan:
    """Raises LoadError."""
    if options.faults and options.urls:
        raise LoadError("Faults are for processes that this command has started itself: leave out --url, or --fault.")
    kinds = TOGETHER if "all" in options.faults else tuple(map(_kind, options.faults))
    if any(kind in PACKETS for kind in kinds) and not can_be_dropped():
        raise LoadError(f"Packets cannot be dropped here: {HOW}.")
    try:
        setup(kinds)
    except ValueError:
        alone = ", ".join(kind.name for kind in kinds if kind.setup)
        raise LoadError(f"Each of these needs a Redis of its own kind, so they make several runs: {alone}.") from None
    for client in options.clients:
        if client not in CLASSES:
            raise LoadError(f"There is no client '{client}'; there are {', '.join(CLASSES)}.")
    names = options.clients or tuple(CLASSES)
    clients = tuple(islice(cycle(names), options.sessions or len(names)))
    return Plan(
        clients=clients,
        kinds=kinds,
        seconds=options.seconds,
        every_s=options.every_s,
        seed=options.seeds[0],
        speed=options.speed,
        each=options.each,
        bridges=options.bridges,
        pause_s=options.pause_s,
    )


def _kind(name: str) -> Kind:
    if name not in KINDS:
        raise LoadError(f"There is no fault '{name}'; there are {', '.join(KINDS)}, and all (on one server).")
    return KINDS[name]


async def _runs(plan: Plan, options: LoadOptions, console: Console) -> list[Result]:
    results = []
    async with _stage(plan, options) as (urls, ships, witness):
        for seed in options.seeds:
            ours = Run(replace(plan, seed=seed), urls, witness, ships, say=console.print)
            results.append(await _shown(ours, console))
    return results


@asynccontextmanager
async def _stage(plan: Plan, options: LoadOptions) -> AsyncIterator[tuple[Sequence[str], Fleet | None, Witness | None]]:
    if options.urls:
        yield options.urls, None, None
        return
    witness = Witness()
    async with model(witness, plan.speed) as base_url, _fleet(base_url, plan, options.log) as ships:
        yield ships.urls, ships, witness


def _fleet(base_url: str, plan: Plan, log: Path | None) -> AbstractAsyncContextManager[Fleet]:
    return fleet(base_url, plan.each, log, bridges=plan.bridges, kinds=plan.kinds)


async def _shown(ours: Run, console: Console) -> Result:
    """With a table that moves where somebody looks."""
    going = asyncio.create_task(ours.go())
    if not console.is_terminal:
        return await going
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while not going.done():
            live.update(_now(ours))
            await asyncio.wait({going}, timeout=_REFRESH_S)
    return going.result()


def _now(ours: Run) -> Table:
    drawn = Table(box=None, pad_edge=False, title=f"seed {ours.plan.seed} · {ours.now:.0f} of {ours.plan.seconds:.0f} s")
    for column in ("client", "sessions", "turns", "sent", "asked", "again", "asked anew", "foreign"):
        drawn.add_column(column, justify="left" if column == "client" else "right")
    for client in dict.fromkeys(ours.plan.clients):
        callers = [caller for name, caller in zip(ours.plan.clients, ours.callers, strict=False) if name == client]
        figures = [judge(caller.ledger) for caller in callers]
        drawn.add_row(*report.live_row(client, figures, sum(caller.turns for caller in callers)))
    return drawn
