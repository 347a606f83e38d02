"""Nothing is lost: clients of every class, a fault of every kind, and every 20 ms counted against `docs/promises.md`.

A quick run has one client of each class and one seed for each kind. `make soak` has more of both, and twenty minutes of
everything at once.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from cli.load import report
from cli.load.doors.classes import NAMES
from cli.load.faults import HALF, KINDS, PROCESS, Kind
from cli.load.fleet import Fleet, fleet
from cli.load.leaks import leaks, settled
from cli.load.report import sentences
from cli.load.run import Plan, Result, Run
from cli.load.witness import Witness, model

ROUNDS = int(os.environ.get("PARLEY_ROUNDS", "1"))
SOAK_MINUTES = float(os.environ.get("PARLEY_SOAK_MINUTES", "0.2"))
SOAK_SESSIONS = int(os.environ.get("PARLEY_SOAK_SESSIONS", str(len(NAMES))))
QUICK_S = 9.0
RACY = ("cut", "half-open 1 s", "gateway kill", "transcoder kill", "bridge kill")
"""The others take long by their nature: they are run with `PARLEY_ROUNDS`, and at most five times."""
QUICK = ("none",)
HALF_SESSIONS = 100 if ROUNDS > 1 else 2 * len(NAMES)
FEW = 5


@asynccontextmanager
async def stage(
    bridges: int = 2, grace_s: float = 60.0, kinds: Sequence[Kind] = (), **settings: str
) -> AsyncIterator[tuple[Fleet, Witness]]:
    """Two of each service, and a model that can be looked into."""
    witness = Witness()
    async with (
        model(witness, 2.0) as base_url,
        fleet(base_url, 2, grace_s=grace_s, bridges=bridges, kinds=kinds, settings=settings) as ships,
    ):
        yield ships, witness


async def kept(plan: Plan, ships: Fleet, witness: Witness) -> Result:
    """The run, all of whose promises were kept and all of whose clients were heard."""
    result = await Run(plan, ships.urls, witness, ships).go()
    complaints = list(sentences(result))
    assert not complaints, "\n".join(complaints)
    assert [session.client for session in result.sessions if not session.figures.down_due] == []
    return result


@pytest.mark.timeout(60 + 150 * ROUNDS)
@pytest.mark.parametrize("kind", ["none", *KINDS] if ROUNDS > 1 else QUICK)
async def test_every_class_is_kept_its_promise(kind: str) -> None:
    """Whatever breaks, loss and repeats are those of the table, frame by frame."""
    broken = () if kind == "none" else (KINDS[kind],)
    async with stage(kinds=broken) as (ships, witness):
        for seed in range(1, 1 + (ROUNDS if kind in RACY else min(ROUNDS, FEW))):
            plan = Plan(clients=NAMES, kinds=broken, seconds=QUICK_S, every_s=6.0, seed=seed)
            result = await kept(plan, ships, witness)
            assert bool(result.faults) == bool(broken)


@pytest.mark.timeout(240)
async def test_half_of_all_bridges_die_at_once() -> None:
    """No session stays without one or gets two, no answer is heard in the middle of another, and nothing is lost."""
    clients = tuple(NAMES[place % len(NAMES)] for place in range(HALF_SESSIONS))
    kind, pause_s = KINDS["bridge kill half"], 8.0 if HALF_SESSIONS > 50 else 0.3
    async with stage(bridges=4) as (ships, witness):
        plan = Plan(clients=clients, kinds=(kind,), seconds=12 + pause_s, every_s=8 + pause_s, bridges=4, pause_s=pause_s)
        result = await kept(plan, ships, witness)
    print(*report.takeovers([result]), sep="\n")
    assert len(result.faults) == 1
    assert len(result.takeovers) >= HALF_SESSIONS // 4
    assert [taken.sid for taken in result.takeovers if taken.owned_s is None] == []


@pytest.mark.timeout(120 + 60 * (SOAK_MINUTES + 2))
async def test_a_soak_ends_clean() -> None:
    """Everything goes wrong, again and again; nothing is lost, and nothing is left: no task, thread, descriptor,
    connection, key or memory of any process."""
    everything: tuple[Kind, ...] = (KINDS["cut"], KINDS["half-open 1 s"], KINDS["half-open 5 s"], *PROCESS, *HALF)
    clients = tuple(NAMES[place % len(NAMES)] for place in range(SOAK_SESSIONS))
    pause_s = 0.3 if len(NAMES) >= SOAK_SESSIONS else 8.0  # a quarter of them talks
    # Most clients hang up without a word, and their sessions are waited for: a quick run cannot wait a minute twice.
    async with stage(grace_s=60.0 if SOAK_MINUTES >= 1 else 8.0) as (ships, witness):
        warm = Plan(clients=NAMES, seconds=5.0, seed=99)
        await kept(warm, ships, witness)
        before = await settled(ships)
        assert list(leaks(before, before)) == []
        plan = Plan(clients=clients, kinds=everything, seconds=60 * SOAK_MINUTES, every_s=10.0, seed=1, pause_s=pause_s)
        result = await kept(plan, ships, witness)
        after = await settled(ships, before)
        assert list(leaks(before, after)) == []
    print(*report.takeovers([result]), before, after, sep="\n")
