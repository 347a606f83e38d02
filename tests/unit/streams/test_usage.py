"""What a session has used, by its entries: over days, and over midnight."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streams.turns import Used
from streams.usage import DAY_MS, Spent, by_day, day_of, total

MIDNIGHT = 1_795_651_200_000
"""2026-11-26, 00:00 UTC"""


def used(number: int, at_ms: int, nano_usd: int | None = 5, **numbers: Any) -> Used:
    return Used(of="response", id=f"r{number}", model="m", at_ms=at_ms, nano_usd=nano_usd, **numbers)


def test_a_session_that_crosses_midnight_is_parted_there() -> None:
    """Each entry counts on its own day, and so does each millisecond."""
    entries = [used(1, MIDNIGHT - 1, text_in=3), used(2, MIDNIGHT, audio_out=4), used(3, MIDNIGHT + 9, nano_usd=None)]
    assert by_day(entries, MIDNIGHT - 60_000, MIDNIGHT + 30_000) == {
        "2026-11-25": Spent(nano_usd=5, ms=60_000, tokens=3, responses=1),
        "2026-11-26": Spent(nano_usd=5, ms=30_000, tokens=4, responses=2, unpriced=1),
    }


def test_a_session_in_which_nothing_was_said_has_lasted_all_the_same() -> None:
    assert by_day([], MIDNIGHT, MIDNIGHT) == {"2026-11-26": Spent()}
    assert by_day([], MIDNIGHT, MIDNIGHT + 7) == {"2026-11-26": Spent(ms=7)}


times = st.integers(MIDNIGHT, MIDNIGHT + 3 * DAY_MS)


@given(st.lists(st.tuples(times, st.integers(0, 10**9) | st.none()), max_size=30), times, times)
def test_the_days_of_a_session_are_the_session(told: list[tuple[int, int | None]], start: int, end: int) -> None:
    """Money, counts and time: nothing lies between two days, nothing on both."""
    start, end = min(start, end), max(start, end)
    entries = [used(number, at, nano) for number, (at, nano) in enumerate(told)]
    days = by_day([*entries, *entries[:3]], start, end)
    whole = total(entries)
    assert sum(day.nano_usd for day in days.values()) == whole.nano_usd
    assert sum(day.responses for day in days.values()) == whole.responses
    assert sum(day.ms for day in days.values()) == end - start
    assert {day_of(start), day_of(end)} <= set(days)
