"""What has arrived is asked for no more often than it is promised to be known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway import following
from gateway.arrivals import Arrivals
from gateway.following import Following
from streams.ids import EntryId


async def test_a_ping_by_bytes_counts_for_the_one_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PING_EVERY_S", 3600.0)
    pings: list[bytes] = []
    kept: asyncio.Future[EntryId] = asyncio.get_running_loop().create_future()

    async def ping(payload: bytes) -> None:
        pings.append(payload)

    async def keep(entry: EntryId) -> bool:
        kept.set_result(entry)
        return True

    followed = Following(Arrivals(), ping, keep)
    assert followed.wrote(EntryId(1, 1), 20_000)
    await followed.ask()
    followed.pong(b"1-1")
    followed.wrote(EntryId(1, 2), 10)
    running = asyncio.create_task(followed.run())
    assert await kept == EntryId(1, 1)
    assert pings == [b"1-1"]
    running.cancel()
    await asyncio.wait([running])


async def arrived(keep: Callable[[EntryId], Awaitable[bool]]) -> tuple[Arrivals, Following]:
    """One entry has arrived at the client, and is not kept yet."""

    async def ping(payload: bytes) -> None:
        """It is answered below."""

    arrivals = Arrivals()
    followed = Following(arrivals, ping, keep)
    followed.wrote(EntryId(1, 1), 20_000)
    await followed.ask()
    followed.pong(b"1-1")
    return arrivals, followed


async def test_what_could_not_be_kept_is_kept_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anything new from the client: it may be listening to the end of an answer."""
    monkeypatch.setattr(following, "KEEP_AGAIN_S", 0.0)
    monkeypatch.setattr(following, "KEEP_EVERY_S", 0.001)
    tries: list[EntryId] = []
    kept = asyncio.Event()

    async def keep(entry: EntryId) -> bool:
        tries.append(entry)
        if len(tries) > 1:
            kept.set()
        return kept.is_set()

    arrivals, followed = await arrived(keep)
    running = asyncio.create_task(followed.run())
    async with asyncio.timeout(5):
        await kept.wait()
    assert tries == [EntryId(1, 1), EntryId(1, 1)]
    running.cancel()
    await asyncio.wait([running])
    assert arrivals.unkept is None
    assert await followed.keep()
    assert len(tries) == 2


async def test_what_was_about_to_be_kept_when_the_connection_ended_is_not_kept() -> None:
    """Whoever ends it has to."""
    asked = asyncio.Event()

    async def keep(entry: EntryId) -> bool:
        asked.set()
        await asyncio.get_running_loop().create_future()
        return True

    arrivals, followed = await arrived(keep)
    running = asyncio.create_task(followed.run())
    async with asyncio.timeout(5):
        await asked.wait()
    running.cancel()
    await asyncio.wait([running])
    assert arrivals.unkept == EntryId(1, 1)
