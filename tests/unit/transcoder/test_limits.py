"""The bucket of decoded seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcoder.limits import DecodedSeconds


def test_it_is_full_at_first() -> None:
    assert DecodedSeconds(now=7.0).available(7.0) == 120.0


def test_it_refills_in_real_time() -> None:
    """One second a second, up to the capacity."""
    bucket = DecodedSeconds(now=0.0)
    assert bucket.take(100.0, 0.0)
    assert bucket.available(30.0) == 50.0
    assert bucket.available(1000.0) == 120.0


def test_all_or_nothing() -> None:
    """What does not fit is not spent in part."""
    bucket = DecodedSeconds(now=0.0)
    assert bucket.take(100.0, 0.0)
    assert not bucket.take(21.0, 0.0)
    assert bucket.available(0.0) == 20.0


def test_it_says_how_long_until_it_fits() -> None:
    bucket = DecodedSeconds(now=0.0)
    assert bucket.wait_s(120.0, 0.0) == 0.0
    assert bucket.take(100.0, 0.0)
    assert bucket.wait_s(50.0, 10.0) == 20.0
    assert bucket.wait_s(120.1, 10.0) is None


def test_a_clock_that_steps_back_adds_nothing() -> None:
    bucket = DecodedSeconds(now=100.0)
    assert bucket.take(60.0, 100.0)
    assert bucket.available(50.0) == 60.0
    assert bucket.available(100.0) == 60.0


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="holds something"):
        DecodedSeconds(now=0.0, capacity_s=0.0)
    with pytest.raises(ValueError, match="are spent"):
        DecodedSeconds(now=0.0).take(-1.0, 0.0)


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 100))))
def test_no_one_gets_more_than_capacity_and_time(steps: list[tuple[float, float]]) -> None:
    """Over any stretch, at most the capacity and one second a second."""
    bucket, now, taken = DecodedSeconds(now=0.0), 0.0, 0.0
    for wait, seconds in steps:
        now += wait
        if bucket.take(seconds, now):
            taken += seconds
        assert taken <= 120.0 + now + 1e-6
