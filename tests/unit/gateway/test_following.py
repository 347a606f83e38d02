"""What has arrived is asked for no more often than it is promised to be known."""

from __future__ import annotations

import asyncio

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

    async def keep(entry: EntryId) -> None:
        kept.set_result(entry)

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
