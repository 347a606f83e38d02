"""What an operator sees of a session, of what Redis shows at one moment."""

from __future__ import annotations

import pytest

from streams.ids import SEQ_STRIDE, EntryId
from streams.overview import Cursor, downlink_waiting, state_of, uplink_waiting


def test_states() -> None:
    assert state_of(attached=True, leased=False, told=False) == "quiet"
    assert state_of(attached=True, leased=True, told=True) == "live"
    assert state_of(attached=False, leased=True, told=True) == "detached"
    assert state_of(attached=False, leased=False, told=False) == "detached"
    assert state_of(attached=True, leased=False, told=True) == "waiting"


def test_what_waits_for_a_transcoder() -> None:
    """Entries of `up` that nothing in `pcm` was made of."""
    assert uplink_waiting(None, EntryId(5, 9), numbered=False) == 0
    assert uplink_waiting(EntryId(5, 3), None, numbered=False) == 3
    assert uplink_waiting(EntryId(5, 3), EntryId(4, 99_999), numbered=False) == 3
    assert uplink_waiting(EntryId(5, 3), EntryId(5, 1 * SEQ_STRIDE + 2), numbered=False) == 2
    assert uplink_waiting(EntryId(5, 3), EntryId(5, 3 * SEQ_STRIDE + 5), numbered=False) == 0
    assert uplink_waiting(EntryId(5, 3), EntryId(6, 0), numbered=False) == 0
    assert uplink_waiting(EntryId(5, 7 * SEQ_STRIDE), EntryId(5, 4 * SEQ_STRIDE * SEQ_STRIDE), numbered=True) == 3


def test_what_waits_for_the_client() -> None:
    assert downlink_waiting(None, None) == 0
    assert downlink_waiting(EntryId(5, 8), None) == 8
    assert downlink_waiting(EntryId(5, 8), EntryId(5, 6)) == 2
    assert downlink_waiting(EntryId(6, 2), EntryId(5, 60)) == 2


def test_a_cursor_survives_an_address() -> None:
    assert Cursor.parse(str(Cursor(12, "ab-c"))) == Cursor(12, "ab-c")
    with pytest.raises(ValueError, match="invalid literal"):
        Cursor.parse("x-1")
