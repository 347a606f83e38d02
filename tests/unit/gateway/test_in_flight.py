"""What is under way, in seconds."""

from __future__ import annotations

import pytest

from gateway.in_flight import InFlight


def test_it_plays_for_as_long_as_what_has_not_arrived() -> None:
    """Whatever the bytes of a second are; of what has arrived in part, the rest."""
    flying = InFlight()
    flying.wrote(100, 0.0)  # the head
    flying.wrote(300, 0.2)
    flying.wrote(310, 0.04)
    assert [flying.seconds(at) for at in (0, 100, 200, 300, 305, 310)] == pytest.approx([0.24, 0.24, 0.14, 0.04, 0.02, 0])
    flying.wrote(320, 0.04)
    assert flying.seconds(310) == pytest.approx(0.04)
    assert flying.seconds(320) == 0


def test_a_write_of_nothing_is_none() -> None:
    flying = InFlight()
    flying.wrote(0, 1.0)
    assert flying.seconds(0) == 0
