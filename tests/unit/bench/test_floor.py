"""The floor beside us and the relay."""

from __future__ import annotations

from bench.floor import ARMS, services_ms, told
from tests.unit.bench.test_summary import measurement


def test_the_services_cost_what_they_do_without_redis() -> None:
    """Gateway and bridge; Redis costs as much again."""
    assert services_ms(measurement(1, "parley", 1.0, 2.0)) == 4.0


def test_each_arm_is_told_beside_the_relay() -> None:
    """Of the median round."""
    cost = {"relay": 2.0, "barest": 2.5, "parley": 6.0}
    rounds = [measurement(number, arm, 1.5, number * cost[arm]) for number in (1, 2, 3) for arm in ARMS]
    relay, barest, parley = told(rounds)
    assert relay.split() == [
        "relay",
        "4.00",
        "ms,",
        "1.0",
        "of",
        "the",
        "relay;",
        "p50",
        "1.50",
        "ms;",
        "machine",
        "20",
        "%",
        "busy",
    ]
    assert (barest.split()[1], barest.split()[3]) == ("10.00", "2.5")
    assert (parley.split()[1], parley.split()[3]) == ("24.00", "6.0")
