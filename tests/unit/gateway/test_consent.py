"""Who is recorded, and by whose word."""

from __future__ import annotations

import pytest

from gateway.consent import Record, recorded_by


@pytest.mark.parametrize(
    ("record", "asked", "claim", "by"),
    [
        ("off", "1", True, None),
        ("off", "", None, None),
        ("ask", "", None, ""),
        ("ask", "1", None, "address"),
        ("ask", "", True, "token"),
        ("ask", "1", False, None),
        ("ask", "0", True, None),
        ("ask", "yes", None, ""),
        ("on", "", None, "deployment"),
        ("on", "0", None, None),
        ("on", "", False, None),
        ("on", "1", None, "address"),
    ],
)
def test_a_word_for_every_case(record: Record, asked: str, claim: bool | None, by: str | None) -> None:
    """Whoever says no, it counts; nobody is recorded where it is off."""
    assert recorded_by(record, {"record": asked} if asked else {}, claim) == by
