"""What waits, and takes no room while it does not."""

from __future__ import annotations

import asyncio
import sys

import pytest

from streams.waiting import Event, Queue


async def test_an_event_wakes_all_who_wait() -> None:
    event = Event()
    waiting = [asyncio.create_task(event.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    event.set()
    await asyncio.gather(*waiting)
    await event.wait()  # at once
    event.clear()
    assert not event.is_set()


async def test_an_event_that_was_set_and_cleared_has_woken_who_waited() -> None:
    event = Event()
    waiting = asyncio.create_task(event.wait())
    await asyncio.sleep(0)
    event.set()
    event.clear()
    await waiting


async def test_who_was_cancelled_waits_no_more() -> None:
    event = Event()
    one, other = asyncio.create_task(event.wait()), asyncio.create_task(event.wait())
    await asyncio.sleep(0)
    one.cancel()
    event.set()  # before the cancelled one has run
    await other
    with pytest.raises(asyncio.CancelledError):
        await one


async def test_a_queue_keeps_the_order_and_its_bound() -> None:
    queue = Queue[int](2)
    queue.put_nowait(1)
    queue.put_nowait(2)
    assert queue.full()
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait(3)
    assert [await queue.get(), await queue.get()] == [1, 2]
    getting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.put_nowait(4)
    assert await getting == 4
    assert not queue.full()


async def test_a_queue_whose_getter_was_cancelled_loses_nothing() -> None:
    queue = Queue[int](2)
    getting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.put_nowait(1)
    getting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await getting
    assert await queue.get() == 1


def test_what_nobody_waits_for_is_small() -> None:
    """The reason for them: each client has more than a dozen."""
    assert sys.getsizeof(Event()) < 100
    assert sys.getsizeof(Queue[int](1)) < 100
