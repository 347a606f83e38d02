"""Percentiles, spreads, and one arm less another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.load.figures import Spread, added, percentile, ratios, spread

finite = st.floats(-1e6, 1e6)


@given(st.lists(finite, min_size=1), st.floats(0, 100))
def test_percentiles_are_those_of_numpy(values: list[float], percent: float) -> None:
    """Linear between the two nearest."""
    assert percentile(values, percent) == pytest.approx(np.percentile(values, percent), abs=1e-6)


def test_nothing_has_no_percentile_and_no_spread() -> None:
    """Rather than a zero that looks like a figure."""
    with pytest.raises(ValueError, match="percentile"):
        percentile([], 50)
    with pytest.raises(ValueError, match="spread"):
        spread([])


def test_a_spread_is_median_lowest_and_highest() -> None:
    assert spread([3.0, 1.0, 9.0]) == Spread(3.0, 1.0, 9.0)


def test_what_is_added_is_paired_by_round() -> None:
    """A busy second of the machine is in both, and falls out; a round that one of them lacks does not count."""
    assert added({1: 3.0, 2: 13.0, 3: 5.0}, {1: 1.0, 2: 11.0, 4: 1.0}) == [2.0, 2.0]


def test_ratios_are_paired_by_round() -> None:
    """A round without a figure to compare with does not count."""
    assert ratios({1: 3.0, 2: 8.0, 3: 1.0}, {1: 1.5, 2: 2.0, 3: 0.0}) == [2.0, 4.0]
