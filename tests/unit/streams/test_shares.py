"""How many orphans are whose."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.shares import Worker, share

ALIVE_MS = 6_500


def of(*workers: Worker, orphaned: tuple[str, ...] = ("dead",)) -> list[int]:
    alive = [worker.name for worker in workers if worker.name not in orphaned]
    return [share(name, workers, orphaned, ALIVE_MS) for name in alive]


def test_all_that_are_alive_have_as_many() -> None:
    dead = Worker("dead", 12, 5_000)
    assert of(dead, Worker("a", 0, 0), Worker("b", 0, 5_900), Worker("c", 0, 300)) == [4, 4, 4]
    assert of(dead, Worker("a", 12, 0), Worker("b", 0, 0)) == [0, 12]
    assert of(dead, Worker("a", 5, 0), Worker("b", 0, 0)) == [4, 9]


def test_nothing_is_left_to_the_dead() -> None:
    """Neither to those whose sessions these are, be they heard of or not, nor to those that nobody has heard of for long."""
    assert of(Worker("dead", 12, 0), Worker("a", 3, 0)) == [12]
    assert share("a", [Worker("dead", 12, 5_000), Worker("a", 0, 0), Worker("gone", 0, 60_000)], {"dead"}, ALIVE_MS) == 12
    assert share("new", [Worker("dead", 12, 5_000)], {"dead"}, ALIVE_MS) == 12


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(1, 100))
def test_the_shares_are_enough_for_all(loads: list[int], orphans: int) -> None:
    workers = [Worker(str(number), load, 0) for number, load in enumerate(loads)]
    assert sum(of(Worker("dead", orphans, 4_500), *workers)) >= orphans
