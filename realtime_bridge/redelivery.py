"""PURE. What becomes of a message that the app's backend was told, or could not be."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_WAIT_S = 5.0
GROWS_BY = 4.0
LONGEST_WAIT_S = 4 * 3_600.0

MAX_TRIES = 12
"""Over some 22 hours: a night in which nobody looks after the backend."""

GONE = 410
"""What says, after the specification, that nobody wants to be told any more."""


@dataclass(frozen=True, slots=True)
class Told:
    """The backend has it."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    in_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    because: str


def after(tries: int, status: int | None, luck: float) -> Told | TryAgain | GiveUp:
    """What follows from try number `tries`. `status`: HTTP's; None: there was no answer. `luck`: 0 to 1, so that the
    messages of one outage do not all come again at once."""
    if status is not None and 200 <= status < 300:
        return Told()
    if status == GONE:
        return GiveUp("nobody is to be told there any more (410)")
    if tries >= MAX_TRIES:
        return GiveUp(f"it was tried {tries} times")
    wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * GROWS_BY ** (tries - 1))
    return TryAgain(wait_s * (0.75 + luck / 2))
