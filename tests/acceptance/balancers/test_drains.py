"""Every door behind HAProxy and nginx at once, each connection through the other one, while gateways stop or die."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from cli.load.doors.classes import NAMES
from cli.load.faults import KINDS as FAULTS
from cli.load.report import sentences
from cli.load.run import Plan, Run
from tests.acceptance.balancers.balancer import KINDS, balancing
from tests.acceptance.test_promises import ROUNDS, stage


@pytest.mark.timeout(120 + 150 * ROUNDS)
async def test_clients_go_on_when_a_gateway_stops(tmp_path: Path) -> None:
    """Two of each class, so that each has its first connection at either. What they say and hear is counted by frame."""
    kinds = (FAULTS["gateway restart"], FAULTS["gateway kill"]) if ROUNDS > 1 else (FAULTS["gateway restart"],)
    async with stage() as (ships, witness):
        with ExitStack() as opened:
            gateways = [url.removeprefix("http://") for url in ships.urls]
            fronts = [f"http://{opened.enter_context(balancing(kind, gateways, tmp_path))}" for kind in KINDS]
            for seed in range(1, 1 + ROUNDS):
                plan = Plan(clients=(*NAMES, *NAMES), kinds=kinds, seconds=8.0, every_s=6.0, seed=seed)
                result = await Run(plan, fronts, witness, ships).go()
                assert result.faults
                assert list(sentences(result)) == []
                assert [session.client for session in result.sessions if not session.figures.down_due] == []
