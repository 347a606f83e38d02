"""Who is recorded, and by whose word."""

from __future__ import annotations

import pytest

from gateway.consent import Record, recorded_by, when_said


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


@pytest.mark.parametrize(
    ("before", "said", "by"),
    [
        (None, True, None),
        (None, None, None),
        ("", None, ""),
        ("", True, "client"),
        ("", False, None),
        ("deployment", None, "deployment"),
        ("deployment", True, "client"),
        ("deployment", False, None),
        ("token", True, "token"),
        ("address", True, "address"),
        ("token", False, None),
    ],
)
def test_what_opens_a_session_may_say_it_too(before: str | None, said: bool | None, by: str | None) -> None:
    """A no in the token, in the address, or of the deployment stays one."""
    assert when_said(before, said) == by
