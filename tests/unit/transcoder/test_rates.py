"""Which rate a source has, and from where it must be there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcoder.rates import WARM_UP_S, period, source_rate, warm_up_from

RATES = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000]


@pytest.mark.parametrize(
    ("source", "rate"),
    [
        ("files", 24_000),
        ("pcm16", 24_000),
        ("pcm16 24000", 24_000),
        ("pcm16 16000", 16_000),
        ("pcm16 8000", 8_000),
        ("pcm16 96000", 96_000),
        ("pcm16 7999", None),
        ("pcm16 96001", None),
        ("pcm16 9600000000", None),
        ("pcm16 -8000", None),
        ("pcm16 fast", None),
        ("pcm16 ١٦٠٠٠", None),
    ],
)
def test_what_a_source_says(source: str, rate: int | None) -> None:
    assert source_rate(source) == rate


@given(st.sampled_from(RATES), st.integers(0, 10**9))
def test_the_warm_up_is_long_enough_and_begins_in_phase(rate: int, position: int) -> None:
    """At a multiple of the period, a quarter of a second before, unless the source has just begun."""
    begin = warm_up_from(rate, 24_000, position)
    assert 0 <= begin <= position
    if rate == 24_000:
        assert begin == position
        return
    assert begin % period(rate, 24_000) == 0
    assert begin * 24_000 % rate == 0
    assert begin == 0 or position - begin >= int(WARM_UP_S * rate)
    assert position - begin < int(WARM_UP_S * rate) + period(rate, 24_000)
