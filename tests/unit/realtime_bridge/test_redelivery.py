"""What becomes of a message that the app's backend was told, or could not be."""

from __future__ import annotations

import pytest

from realtime_bridge.redelivery import LONGEST_WAIT_S, MAX_TRIES, GiveUp, Told, TryAgain, after


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_success_is_one(status: int) -> None:
    assert after(1, status, 0.5) == Told()
    assert after(MAX_TRIES, status, 0.5) == Told()


@pytest.mark.parametrize("status", [None, 100, 301, 302, 400, 401, 404, 429, 500, 503])
def test_all_else_is_tried_again_later_each_time_and_at_last_given_up(status: int | None) -> None:
    decisions = [after(tries, status, 0.5) for tries in range(1, MAX_TRIES + 1)]
    waits = [decision.in_s for decision in decisions if isinstance(decision, TryAgain)]
    assert len(waits) == MAX_TRIES - 1
    assert waits == sorted(waits)
    assert waits[0] == 5.0
    assert max(waits) == LONGEST_WAIT_S
    assert 12 * 3600 < sum(waits) < 36 * 3600
    assert decisions[-1] == GiveUp(f"it was tried {MAX_TRIES} times")


def test_who_wants_to_hear_no_more_is_told_no_more() -> None:
    assert isinstance(after(1, 410, 0.5), GiveUp)


def test_messages_of_one_outage_come_apart() -> None:
    early, late = after(3, 500, 0.0), after(3, 500, 1.0)
    assert isinstance(early, TryAgain)
    assert isinstance(late, TryAgain)
    assert late.in_s > 1.5 * early.in_s
