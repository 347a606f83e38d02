"""How fast a session may be spoken to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.allowance import CAPACITY_S, Allowance, seconds_of
from gateway.errors import TooFast


def test_two_minutes_at_once_and_then_real_time() -> None:
    allowance = Allowance(now=7.0)
    allowance.take(CAPACITY_S, 7.0)
    with pytest.raises(TooFast):
        allowance.take(0.1, 7.0)
    allowance.take(30.0, 37.0)
    assert not allowance.is_full(156.0)
    assert allowance.is_full(158.0)


def test_what_is_refused_is_not_spent() -> None:
    """And the sentence says how long to wait."""
    allowance = Allowance(now=0.0)
    allowance.take(100.0, 0.0)
    with pytest.raises(TooFast, match=r"Send this again in 10 s\.") as raised:
        allowance.take(30.0, 0.0)
    assert raised.value.wait_s == 10.0
    allowance.take(30.0, 10.0)


def test_what_is_too_much_at_once_never_fits() -> None:
    with pytest.raises(TooFast, match=r"Send less at once\.") as raised:
        Allowance(now=0.0).take(CAPACITY_S + 0.1, 1e6)
    assert raised.value.wait_s is None


def test_a_clock_that_steps_back_adds_nothing() -> None:
    allowance = Allowance(now=100.0)
    allowance.take(CAPACITY_S, 100.0)
    with pytest.raises(TooFast):
        allowance.take(1.0, 50.0)
    with pytest.raises(TooFast):
        allowance.take(1.0, 100.0)


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 100))))
def test_nobody_gets_more_than_capacity_and_time(steps: list[tuple[float, float]]) -> None:
    """And who waits as long as was said gets it."""
    allowance, now, taken = Allowance(now=0.0), 0.0, 0.0
    for wait, seconds in steps:
        now += wait
        try:
            allowance.take(seconds, now)
        except TooFast as error:
            now += (error.wait_s or 0.0) + 1e-6
            allowance.take(seconds, now)
        taken += seconds
        assert taken <= CAPACITY_S + now + 1e-3


@given(st.integers(0, 500))
def test_who_talks_live_never_notices(frames: int) -> None:
    allowance = Allowance(now=0.0)
    for frame in range(frames):
        allowance.take(seconds_of(bytes(960)), frame * 0.02)


def test_who_waits_as_long_as_it_says_is_served() -> None:
    allowance = Allowance(now=0.0)
    allowance.take(CAPACITY_S, 0.0)
    assert allowance.wait_s(10.0, 4.0) == 6.0
    allowance.take(10.0, 10.0)
    assert allowance.wait_s(CAPACITY_S * 2, 1000.0) == 0.0
