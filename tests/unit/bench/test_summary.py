"""From measurements to figures, and stacks to shares."""

from __future__ import annotations

from bench.messages import Result, RoundTrip
from bench.profile import Share, shares
from bench.record import ARMS, BETWEEN, Arm, Cost, Measurement, Memory, Record
from bench.summary import summarise
from cli.load.figures import Spread

NAMES = ("gateway", "bridge", "redis", "relay", "simulator", "client", "bench", "barest gateway", "barest bridge")


def measurement(number: int, arm: Arm, p50: float, each: float) -> Measurement:
    """Every process that stands between costs `each`."""
    clients = Result(sent=100, received=99, lost=1, round_trip=RoundTrip(99, p50, p50, p50 * 10, p50 * 20))
    cost = {name: Cost(each if name in BETWEEN[arm] else 0.0, 0.0) for name in NAMES}
    return Measurement(number, 10, 10, arm, clients, 8.0, cost, 20.0, 1.0, dict.fromkeys(NAMES, Memory(60.0, 40.0)))


def test_arms_are_compared_within_a_round() -> None:
    """The second round is slower for all of them, and what is added is not."""
    record = Record(idle={})
    for number, floor in ((1, 1.0), (2, 5.0)):
        for arm, more in zip(ARMS, (0.0, 0.5, 2.0), strict=True):
            record.measurements.append(measurement(number, arm, floor + more, 2.0))
    direct, relay, parley = summarise(record).arms
    assert direct.p50_ms == Spread(3.0, 1.0, 5.0)
    assert relay.added_p50_ms == Spread(0.5, 0.5, 0.5)
    assert parley.added_p50_ms == Spread(2.0, 2.0, 2.0)
    assert parley.added_p99_ms == Spread(20.0, 20.0, 20.0)
    assert (parley.between.median, relay.between.median, direct.between.median) == (6.0, 2.0, 0.0)
    assert parley.between_to_relay == Spread(3.0, 3.0, 3.0)
    assert parley.services_to_relay == Spread(2.0, 2.0, 2.0)
    assert (parley.sent, parley.received, parley.lost) == (200, 198, 2)


def test_stacks_become_shares() -> None:
    """The innermost function has the time; recursion counts once."""
    stacks = "run (a.py:1);send (b.py:5) 3\nrun (a.py:2);send (b.py:9);send (b.py:9);pack (c.py:1) 1\n"
    assert shares(stacks) == [Share("send (b.py)", 75.0, 100.0), Share("pack (c.py)", 25.0, 25.0)]
