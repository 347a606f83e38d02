"""What goes wrong on demand, as it is written."""

from __future__ import annotations

from collections import Counter

import pytest

from simulator.faults import BadFault, Fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("close=1011@7", Fault("close", 7, 1011)),
        ("reset@3#2", Fault("reset", 3, connection=2)),
        ("silent@3#*", Fault("silent", 3, connection=None)),
        ("error@response.done:2", Fault("error", 2, event="response.done")),
    ],
)
def test_a_fault_is_read(text: str, fault: Fault) -> None:
    assert Fault.parse(text) == fault


@pytest.mark.parametrize("text", ["", "close@7", "close=12@7", "reset", "reset@x", "burn@3", "reset@3#0x"])
def test_what_is_no_fault_is_told(text: str) -> None:
    with pytest.raises(BadFault, match="such as close=1011@7"):
        Fault.parse(text)


def test_it_strikes_once_on_its_connection() -> None:
    """By the count of all events, or of one kind."""
    sent = Counter({"session.created": 1, "response.done": 2})
    assert Fault("reset", 3).strikes(1, sent, "response.done")
    assert not Fault("reset", 3).strikes(2, sent, "response.done")
    assert Fault("reset", 3, connection=None).strikes(2, sent, "response.done")
    assert Fault("reset", 2, event="response.done").strikes(1, sent, "response.done")
    assert not Fault("reset", 2, event="response.done").strikes(1, sent, "session.created")
