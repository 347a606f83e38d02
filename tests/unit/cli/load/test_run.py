"""Who calls in a run of the harness."""

from __future__ import annotations

from cli.load.run import drawn
from tests.compose.containers import SEEDS


def test_nobody_calls_twice_in_a_fleet() -> None:
    """The session of before may still be kept, with an answer whose end it has not heard."""
    called = [drawn(1, 12 * runs, 12) for runs in range(50)]
    assert len({number for each in called for number in each}) == 600


def test_nobody_calls_twice_before_the_same_containers() -> None:
    """Each run there has a witness of its own, who does not know of the one before."""
    first, second = (drawn(seed, 0, 12) for seed in SEEDS.values())
    assert not set(first) & set(second)
