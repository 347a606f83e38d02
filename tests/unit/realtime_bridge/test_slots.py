"""So many at a time, and whoever is due first."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from realtime_bridge.slots import Slots


class Queue:
    """Those who want a slot, and the order in which they got one."""

    def __init__(self, at_once: int = 1) -> None:
        self.slots = Slots(at_once)
        self.order: list[str] = []
        self.most = 0
        self._inside = 0

    async def needs(self, name: str, *, due: bool = False, times: int = 1) -> None:
        place = self.slots.place()
        for _ in range(times):
            async with self.slots.taken(place, due=due):
                self._inside += 1
                self.most = max(self.most, self._inside)
                await turn_of_all()
                self.order.append(name)
                self._inside -= 1


async def turn_of_all() -> None:
    """Everybody who can go on does."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_whoever_is_due_is_next() -> None:
    queue = Queue()
    async with asyncio.TaskGroup() as group:
        for name in "abcde":
            group.create_task(queue.needs(name))
        await asyncio.sleep(0)
        group.create_task(queue.needs("due", due=True))
    assert queue.order == ["a", "due", "b", "c", "d", "e"]


async def test_one_after_the_other_is_done_with_all_it_has_to_do() -> None:
    """Not everybody at the end: who has come first goes first, however often it comes."""
    queue = Queue()
    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(queue.needs(name, times=3))
        group.create_task(queue.needs("d", due=True, times=2))
    assert "".join(queue.order) == "addaabbbccc"


async def test_no_more_than_so_many_at_a_time() -> None:
    queue = Queue(at_once=3)
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(queue.needs(str(number), due=number % 2 == 0, times=2))
    assert (queue.most, len(queue.order)) == (3, 40)


async def test_who_gives_up_takes_no_slot_with_it() -> None:
    """While it waits, while it has one, or at the moment at which it is handed one."""
    queue = Queue()
    async with AsyncExitStack() as held:
        await held.enter_async_context(queue.slots.taken(0, due=False))
        waits, is_handed_one = (asyncio.create_task(queue.needs(name)) for name in ("waits", "is handed one"))
        await turn_of_all()
        waits.cancel()
        await turn_of_all()
    is_handed_one.cancel()
    await asyncio.wait([waits, is_handed_one])
    has_one = asyncio.create_task(queue.needs("has one"))
    await asyncio.sleep(0)
    has_one.cancel()
    await asyncio.wait([has_one])
    async with asyncio.timeout(5):
        await queue.needs("last")
    assert queue.order == ["last"]
