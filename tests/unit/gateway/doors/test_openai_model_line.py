"""Who is told at the OpenAI door that the line to the model broke."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.doors.openai_downlink import Frames, _frame
from streams import down
from streams.ids import EntryId


@pytest.mark.parametrize(("message", "state"), [(down.Reconnecting(), "reconnecting"), (down.Resumed(), "resumed")])
def test_our_extension_hears_of_it(message: down.DownMessage, state: str) -> None:
    """With its place, so that a redial is told of it too; a plain client hears a pause."""
    nobody: Any = None  # no connection is looked at for this
    frame = _frame(nobody, Frames("s", dids=True), EntryId(7, 3), message)
    assert frame is not None
    assert msgspec.json.decode(frame.data) == {"did": "7-3", "type": "parley.model", "state": state}
    assert _frame(nobody, Frames("s", dids=False), EntryId(7, 3), message) is None
