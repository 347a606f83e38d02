"""When a socket is left."""

from __future__ import annotations

import pytest

from realtime_bridge.rollover import Window, wait_s, window


@pytest.mark.parametrize(
    ("expires_in_s", "max_age_s", "expected"),
    [
        (3_600.0, None, Window(3_300.0, 3_570.0)),
        (None, None, None),
        (None, 1_800.0, Window(1_500.0, 1_770.0)),
        (3_600.0, 1_800.0, Window(1_500.0, 1_770.0)),
        (40.0, None, Window(30.0, 36.0)),
        (-5.0, None, None),  # its clock is not ours
    ],
)
def test_the_end_is_what_comes_first(expires_in_s: float | None, max_age_s: float | None, expected: Window | None) -> None:
    """Of what the server says and what the operator says."""
    assert window(expires_in_s, max_age_s) == expected


@pytest.mark.parametrize(
    ("tries", "left_s", "expected"), [(1, 200.0, 2.0), (3, 200.0, 8.0), (9, 200.0, 30.0), (3, 1.5, 1.5), (3, -2.0, 1.0)]
)
def test_a_server_is_not_dialled_again_and_again(tries: int, left_s: float, expected: float) -> None:
    """But the last moment is not slept through."""
    assert wait_s(tries, left_s) == expected
