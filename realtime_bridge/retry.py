"""PURE. Whether to dial the model's server again, and when.

Exponential backoff with full jitter: before each new try a random share of 0.5 s, 1 s, 2 s, 4 s, 8 s is waited, so that a
thousand sessions that broke in one moment do not come back in one moment. What a server asks for (`Retry-After`) comes
before what we would have chosen. Who gives up says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from realtime_bridge.errors import UpstreamError

RETRIES = 5
"""New tries after a failure. With the waits before them 15.5 seconds of silence at the most, half of that on average: who
is still on the line after that would rather be told."""

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 8.0

LONGEST_RETRY_AFTER_S = 30.0
"""A server that asks for more than this is not going to be back in this conversation."""


@dataclass(frozen=True)
class Wait:
    """Dial again after so long."""

    seconds: float


@dataclass(frozen=True)
class GiveUp:
    """Do not dial again; `because` is a sentence for a person."""

    because: str


Decision: TypeAlias = Wait | GiveUp


def after(attempt: int, failure: UpstreamError, jitter: float) -> Decision:
    """What follows the failure of a dial, or of the socket it gave us.

    `attempt` counts failures in a row, from 1, and starts over after a session that worked; `jitter` is random,
    0 up to 1.
    """
    if not failure.retryable:
        return GiveUp(failure.message)
    if attempt > RETRIES:
        return GiveUp(f"{failure.message} We tried {attempt} times.")
    asked = failure.retry_after_s or 0.0
    if asked > LONGEST_RETRY_AFTER_S:
        return GiveUp(f"{failure.message} It asks us to stay away for {asked:.0f} seconds.")
    return Wait(max(asked, jitter * min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempt - 1))))
