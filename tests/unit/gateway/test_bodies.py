"""How much of requests that are still read one process holds."""

from __future__ import annotations

import pytest

from gateway import bodies
from gateway.errors import TooMuchAtOnce


def test_one_caller_does_not_take_the_room_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_HELD_BYTES", 100)
    monkeypatch.setattr(bodies, "MAX_HELD_BYTES_PER_CALLER", 60)
    held = bodies.Bodies()
    with held.held_by("ann") as of_ann, held.held_by("bob") as of_bob:
        of_ann(60)
        with pytest.raises(TooMuchAtOnce):
            of_ann(1)
        of_bob(40)
        with pytest.raises(TooMuchAtOnce):
            of_bob(1)
    assert held.held == 0


def test_two_requests_of_one_caller_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_HELD_BYTES_PER_CALLER", 60)
    held = bodies.Bodies()
    with held.held_by("ann") as first:
        first(40)
        with held.held_by("ann") as second, pytest.raises(TooMuchAtOnce):
            second(30)
        with held.held_by("ann") as third:
            third(20)
    assert held.held == 0
