"""A network that drops packets, for real: the kernel drops them, and nobody is told. Needs root and iptables.

Where there is no right to that, `tests/conftest.py` does not collect this and says so.
"""

from __future__ import annotations

import pytest

from cli.load.doors.classes import NAMES
from cli.load.faults import KINDS
from cli.load.report import sentences
from cli.load.run import Plan, Run
from tests.acceptance.test_promises import stage


@pytest.mark.timeout(150)
async def test_a_flap_that_outlasts_the_patience_with_slow_clients_breaks_nothing() -> None:
    """Every connection is there afterwards, so nothing is missing, and nothing comes again."""
    kind = KINDS["drop 5 s"]
    async with stage(kinds=(kind,), PARLEY_SEND_TIMEOUT_S="1") as (ships, witness):
        run = Run(Plan(clients=NAMES, kinds=(kind,), seconds=7.0, every_s=6.0), ships.urls, witness, ships)
        result = await run.go()
    assert list(sentences(result)) == []
    flaps = [each for caller in run.callers for each in caller.ledger.breaks if each.cause == kind.name]
    assert len(flaps) == len(NAMES)
    assert [flap for flap in flaps if flap.loses] == []  # each connection has outlived it
    figures = {session.client: session.figures for session in result.sessions}
    assert {name: each.up_lost + each.down_lost + each.down_doubled for name, each in figures.items()} == dict.fromkeys(
        NAMES, 0
    )
