"""How many orphans are whose."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.shares import LEFT_S, Worker, look_again_s, share

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


def test_the_next_look_is_when_the_next_one_is_an_orphan() -> None:
    """Who died just after it had kept its own is known to be dead as soon as it may be said."""
    assert look_again_s([], 4_000, has_left_some=False, at_latest_s=1.0) == 1.0
    assert look_again_s([2_500], 4_000, has_left_some=False, at_latest_s=1.0) == 1.0
    assert look_again_s([2_500, 3_600], 4_000, has_left_some=False, at_latest_s=1.0) == 0.4


def test_what_is_left_to_others_is_left_for_a_moment() -> None:
    assert look_again_s([], 4_000, has_left_some=True, at_latest_s=1.0) == LEFT_S
    assert look_again_s([3_900], 4_000, has_left_some=True, at_latest_s=1.0) == 0.1


@given(st.integers(0, 1_000), st.sampled_from([2_000, 4_000]))
def test_an_orphan_is_found_as_soon_as_it_is_one(first_ms: int, orphan_ms: int) -> None:
    """Whenever its worker died between two looks: it looks each second, and at what was not kept for 0.6 of the time."""
    idle = first_ms
    while idle < orphan_ms:
        watched = [idle] if idle >= 0.6 * orphan_ms else []
        idle += round(1_000 * look_again_s(watched, orphan_ms, has_left_some=False, at_latest_s=1.0))
    assert idle <= orphan_ms + 200
