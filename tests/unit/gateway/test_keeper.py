"""One clock renews all that the connections of a process hold."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from gateway import keeper as module
from gateway.keeper import SLOTS, Keeper


class Held:
    """Counts how often it was told."""

    def __init__(self, told: Counter[int], number: int) -> None:
        self._told, self._number = told, number

    def keep(self) -> None:
        self._told[self._number] += 1


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ATTACH_RENEW_S", 0.06)


async def test_everybody_is_told_again_and_again_and_nobody_twice_in_a_turn() -> None:
    told, keeper = Counter[int](), Keeper()
    holders = [Held(told, number) for number in range(3 * SLOTS)]
    for holder in holders:
        keeper.join(holder)
    await until(lambda: len(told) == len(holders) and min(told.values()) >= 3)
    assert max(told.values()) - min(told.values()) <= 1
    for holder in holders:
        keeper.leave(holder)


async def test_who_has_left_is_told_nothing_more_and_the_clock_stops() -> None:
    told, keeper = Counter[int](), Keeper()
    leaves, stays = Held(told, 0), Held(told, 1)
    keeper.join(leaves)
    keeper.join(stays)
    keeper.leave(leaves)
    await until(lambda: told[1] >= 2)
    keeper.leave(stays)
    await until(lambda: not any(task.get_name() == "gateway.keeper" for task in asyncio.all_tasks()))
    assert told[0] == 0


async def test_who_comes_after_the_last_has_left_is_told_too() -> None:
    told, keeper = Counter[int](), Keeper()
    first, second = Held(told, 1), Held(told, 2)
    keeper.join(first)
    await asyncio.sleep(0)
    keeper.leave(first)
    keeper.join(second)
    await until(lambda: told[2] > 0)
    keeper.leave(second)


async def test_one_that_fails_takes_nobody_with_it(caplog: pytest.LogCaptureFixture) -> None:
    told, keeper = Counter[int](), Keeper()
    fails, works = Held(told, 0), Held(told, 1)

    def fail() -> None:
        raise ZeroDivisionError

    fails.keep = fail  # type: ignore[method-assign]
    for holder in (fails, works):
        keeper.join(holder)
    await until(lambda: told[1] >= 3)
    assert "not renewed" in caplog.text
    for holder in (fails, works):
        keeper.leave(holder)
