"""What has arrived is what came back, and nothing else."""

from __future__ import annotations

import pytest

from gateway.arrivals import Arrivals
from streams.ids import ZERO, EntryId


def test_a_ping_asks_about_the_last_entry_once() -> None:
    """Nothing written, nothing asked; the same place is asked about once."""
    arrivals = Arrivals()
    assert arrivals.ping() is None
    arrivals.wrote(EntryId(5, 1))
    arrivals.wrote(EntryId(5, 3))
    assert arrivals.ping() == b"5-3"
    assert arrivals.ping() is None
    arrivals.wrote(EntryId(5, 4))
    assert arrivals.ping() == b"5-4"


def test_a_pong_moves_the_place_and_it_is_kept_once() -> None:
    """An older pong that comes later moves nothing back."""
    arrivals = Arrivals()
    for n in (1, 2):
        arrivals.wrote(EntryId(5, n))
        arrivals.ping()
    assert arrivals.pong(b"5-2")
    assert not arrivals.pong(b"5-1")
    assert arrivals.arrived == EntryId(5, 2)
    assert arrivals.unkept == EntryId(5, 2)
    arrivals.kept(EntryId(5, 2))
    assert arrivals.unkept is None


@pytest.mark.parametrize("payload", [b"", b"hello", b"5-", b"\xff\xfe", b"9-9"])
def test_what_was_not_asked_says_nothing(payload: bytes) -> None:
    """Heartbeats, garbage, and a place that was never written."""
    arrivals = Arrivals()
    arrivals.wrote(EntryId(5, 1))
    arrivals.ping()
    assert not arrivals.pong(payload)
    assert arrivals.arrived == ZERO
