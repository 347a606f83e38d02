"""What has not arrived is counted, and bounded."""

from __future__ import annotations

from realtime_bridge.backlog import LOOK_BYTES, MAX_BYTES, Backlog
from streams.ids import EntryId


def test_a_look_is_due_each_megabyte() -> None:
    """Not at each entry: a look costs a command."""
    backlog = Backlog(7)
    looks = [n for n in range(1, 41) if backlog.said(n, LOOK_BYTES // 8)]
    assert looks == [8, 16, 24, 32, 40]


def test_a_client_that_keeps_up_is_never_too_far_behind() -> None:
    """What has arrived does not count, however much was said."""
    backlog = Backlog(7)
    for n in range(1, 200):
        backlog.said(n, LOOK_BYTES)
        backlog.arrived(EntryId(7, n))
        assert not backlog.too_far_behind


def test_a_client_that_stops_reading_is() -> None:
    """Past sixteen megabytes; what arrives then counts again."""
    backlog = Backlog(7)
    count = MAX_BYTES // LOOK_BYTES + 1
    for n in range(1, count + 1):
        assert not backlog.too_far_behind
        backlog.said(n, LOOK_BYTES)
    assert backlog.too_far_behind
    backlog.arrived(EntryId(7, 1))
    assert not backlog.too_far_behind


def test_a_cursor_of_an_earlier_reign_says_nothing_about_this_one() -> None:
    """Its epoch is lower; one of a later reign is above all."""
    backlog = Backlog(7)
    backlog.said(1, MAX_BYTES + 1)
    backlog.arrived(EntryId(6, 99))
    assert backlog.too_far_behind
    backlog.arrived(EntryId(8, 0))
    assert not backlog.too_far_behind
