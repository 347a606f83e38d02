"""What waits to be sent to one client."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import Restarting, SessionEnded, SlowClient
from gateway.outbox import FULL_BYTES, REPLIES_BYTES, Frame, Outbox


def frame(data: bytes, item: str | None = None) -> Frame:
    return Frame("test", data, item)


async def turns() -> None:
    """Let everybody do what they can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_get_returns_what_was_put_in_order() -> None:
    outbox = Outbox()
    await outbox.put(frame(b"1"))
    outbox.reply(frame(b"2"))
    assert [(await outbox.get()).data, (await outbox.get()).data] == [b"1", b"2"]


async def test_get_waits_for_a_frame() -> None:
    outbox = Outbox()
    getting = asyncio.create_task(outbox.get())
    await turns()
    assert not getting.done()
    outbox.reply(frame(b"1"))
    assert (await getting).data == b"1"


async def test_put_waits_while_it_is_full_and_replies_do_not() -> None:
    outbox = Outbox()
    await outbox.put(frame(bytes(FULL_BYTES)))
    putting = asyncio.create_task(outbox.put(frame(b"2")))
    outbox.reply(frame(b"reply"))
    await turns()
    assert not putting.done()
    assert len((await outbox.get()).data) == FULL_BYTES
    await putting
    assert [(await outbox.get()).data, (await outbox.get()).data] == [b"reply", b"2"]


async def test_void_drops_the_audio_of_an_item_and_makes_room() -> None:
    outbox = Outbox()
    await outbox.put(frame(bytes(FULL_BYTES), "i1"))
    putting = asyncio.create_task(outbox.put(frame(b"text")))
    await turns()
    outbox.void("i1")
    await putting
    assert (await outbox.get()).data == b"text"


async def test_who_asks_without_reading_is_too_slow() -> None:
    outbox = Outbox()
    for _ in range(REPLIES_BYTES // 1000):
        outbox.reply(frame(bytes(1000)))
    with pytest.raises(SlowClient):
        outbox.reply(frame(bytes(1000)))


async def test_who_reads_may_ask_for_ever() -> None:
    outbox = Outbox()
    await outbox.put(frame(b"first"))
    for _ in range(10 * REPLIES_BYTES // 1000):
        outbox.reply(frame(bytes(1000)))
        await outbox.get()


async def test_finish_lets_the_last_words_out() -> None:
    outbox = Outbox()
    await outbox.put(frame(b"last"))
    outbox.finish(SessionEnded())
    assert (await outbox.get()).data == b"last"
    with pytest.raises(SessionEnded):
        await outbox.get()


async def test_fail_drops_them() -> None:
    outbox = Outbox()
    await outbox.put(frame(b"last"))
    outbox.fail(Restarting())
    with pytest.raises(Restarting):
        await outbox.get()


async def test_fail_wakes_who_waits() -> None:
    outbox = Outbox()
    getting = asyncio.create_task(outbox.get())
    await turns()
    outbox.fail(Restarting())
    with pytest.raises(Restarting):
        await getting


async def test_the_rest_is_taken_out() -> None:
    """Whoever waits for room has it then."""
    outbox = Outbox()
    await outbox.put(frame(b"x" * FULL_BYTES))
    outbox.reply(frame(b"2"))
    putting = asyncio.create_task(outbox.put(frame(b"3")))
    await turns()
    assert [len(left.data) for left in outbox.rest()] == [FULL_BYTES, 1]
    await putting
    assert [left.data for left in outbox.rest()] == [b"3"]
