"""PURE. Whether a session is recorded from its beginning, and by whose word: whoever says so says that the user agrees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Record = Literal["off", "ask", "on"]
"""Of a deployment: nobody is recorded; who agrees is; everybody is, but for those who say no."""


def recorded_by(record: Record, query: Mapping[str, str], claim: bool | None) -> str | None:
    """As `turns.Opened.recorded_by`. `claim`: what the token says. Whoever says no, it counts."""
    asked = {"0": False, "1": True}.get(query.get("record", ""))
    if record == "off" or claim is False or asked is False:
        return None
    if claim:
        return "token"
    if asked:
        return "address"
    return "deployment" if record == "on" else ""


def when_said(recorded_by: str | None, said: bool | None) -> str | None:
    """The same, when what opens the session says it in a field of its own, too; None: it does not. A yes lifts no no."""
    if recorded_by is None or said is False:
        return None
    return recorded_by if said is None or recorded_by in ("token", "address") else "client"
