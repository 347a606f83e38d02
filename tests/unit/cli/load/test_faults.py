"""Schedules of faults."""

from __future__ import annotations

import pytest

from cli.load.faults import KINDS, TOGETHER, schedule, setup

BOTH = (KINDS["gateway kill"], KINDS["half-open 5 s"])


def test_a_seed_decides_all_of_it() -> None:
    assert schedule(3, BOTH, 60, 8, lines=4) == schedule(3, BOTH, 60, 8, lines=4)
    assert schedule(3, BOTH, 60, 8, lines=4) != schedule(4, BOTH, 60, 8, lines=4)


def test_every_line_is_hit_once_and_processes_one_at_a_time() -> None:
    """In order, and never so late that nobody could recover."""
    faults = schedule(1, BOTH, 100, 8, lines=4)
    assert [fault.at_s for fault in faults] == sorted(fault.at_s for fault in faults)
    assert max(fault.at_s for fault in faults) < 100
    lines = [fault for fault in faults if fault.kind.service is None]
    assert [fault.victim for fault in lines].count(0) == len(lines) / 4 > 0
    assert len(lines) < len(faults)


def test_without_kinds_nothing_happens() -> None:
    assert schedule(1, (), 100, 8, lines=4) == ()


def test_a_fault_of_redis_is_one_for_all() -> None:
    """Not one for each line."""
    faults = schedule(1, (KINDS["redis restart 1 s"], KINDS["redis slow 200 ms"]), 100, 8, lines=4)
    assert {fault.kind.name for fault in faults} == {"redis restart 1 s", "redis slow 200 ms"}
    assert len({fault.at_s for fault in faults}) == len(faults) < 100 / 8


def test_a_fault_says_what_redis_it_takes() -> None:
    """Those that need none in particular go with any."""
    assert setup(()) == setup(BOTH) == "one"
    assert setup((*BOTH, KINDS["redis failover"], KINDS["redis hang 8 s"])) == "sentinels"
    assert setup((KINDS["redis reshard"], KINDS["bridge kill"])) == "cluster"
    assert setup(TOGETHER) == "one"


def test_redis_is_not_two_things_at_once() -> None:
    with pytest.raises(ValueError, match="one server and several"):
        setup((KINDS["redis failover"], KINDS["redis restart 1 s"]))
