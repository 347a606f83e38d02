"""When the model's server is dialled again."""

from __future__ import annotations

import pytest

from realtime_bridge import retry, verdicts
from realtime_bridge.errors import UpstreamError, UpstreamRefused, UpstreamUnavailable
from realtime_bridge.retry import LONGEST_WAIT_S, RETRIES, GiveUp, Wait

BUSY = UpstreamUnavailable("http_503", "The model's server is not well (HTTP 503).")


@pytest.mark.parametrize(("attempt", "longest_s"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0)])
def test_waits_grow_and_are_shared_out_by_luck(attempt: int, longest_s: float) -> None:
    """Full jitter: anything from nothing to the longest wait of this attempt."""
    assert retry.after(attempt, BUSY, 0.0) == Wait(0.0)
    assert retry.after(attempt, BUSY, 0.5) == Wait(longest_s / 2)
    assert retry.after(attempt, BUSY, 1.0) == Wait(longest_s)
    assert longest_s <= LONGEST_WAIT_S


def test_after_the_last_retry_we_give_up() -> None:
    """The reason says what happened, and how often."""
    decision = retry.after(RETRIES + 1, BUSY, 0.5)
    assert decision == GiveUp("The model's server is not well (HTTP 503). We tried 6 times.")


def test_a_refusal_is_final_at_once() -> None:
    """A wrong key does not get better."""
    refused = UpstreamRefused("invalid_api_key", "The model's server refused the key.")
    assert retry.after(1, refused, 0.5) == GiveUp("The model's server refused the key.")


@pytest.mark.parametrize(("asked_s", "expected"), [(0.1, Wait(0.25)), (3.0, Wait(3.0)), (30.0, Wait(30.0))])
def test_what_the_server_asks_for_is_the_least(asked_s: float, expected: Wait) -> None:
    """Retry-After is waited for, or longer."""
    assert retry.after(1, UpstreamUnavailable("http_429", "Busy.", asked_s), 0.5) == expected


def test_a_server_that_asks_for_too_long_is_given_up() -> None:
    """Nobody waits an hour on the telephone."""
    decision = retry.after(1, UpstreamUnavailable("http_429", "It is busy.", 3600.0), 0.5)
    assert decision == GiveUp("It is busy. It asks us to stay away for 3600 seconds.")


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        *((verdicts.closed(code), True) for code in (1000, 1001, 1005, 1006, 1011, 1012, 1013, 1015)),
        *((verdicts.closed(code), False) for code in (1002, 1008, 1009, 3000, 4000, 4004)),
        *((verdicts.of_status(status, {}), True) for status in (408, 429, 500, 502, 503, 504)),
        *((verdicts.of_status(status, {}), False) for status in (200, 400, 401, 403, 404)),
    ],
    ids=lambda value: getattr(value, "code", None),
)
def test_what_is_worth_another_try(failure: UpstreamError, again: bool) -> None:
    """Lines that broke and servers that are unwell; not keys, models and protocol."""
    assert isinstance(retry.after(1, failure, 0.5), Wait if again else GiveUp)
