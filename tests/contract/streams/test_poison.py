"""One bad message must not deafen a whole process, nor one bad entry stop it from working."""

from __future__ import annotations

import asyncio
from secrets import token_hex

from redis.asyncio import Redis

from runtime.embedded import EmbeddedServer
from streams import keys, pcm
from streams.bus import Bus
from streams.consumer import Consumer
from streams.dispatch import Assignments, hand_out
from streams.hub import open_hub
from streams.producer import Marked, Producer
from streams.sessions import Session
from streams.writer import Writer


async def test_a_message_that_does_not_read_deafens_nobody(redis: Redis, writer: Writer, bus: Bus, session: Session) -> None:
    """Somebody publishes nonsense on a session's channel (redis-cli, another version)."""
    async with Consumer(redis, bus, session.keys.pcm, pcm.decoder) as entries:
        reader = aiter(entries)
        await anext(reader)
        waiting = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0.05)
        await redis.spublish(session.keys.pcm, b"\xc1nonsense")
        await asyncio.sleep(0.05)
        await Producer(writer, session.keys.pcm, Marked(token_hex(4))).append(pcm.Audio(bytes(480)))
        entry = await asyncio.wait_for(waiting, 10)
        assert isinstance(entry.message, pcm.Audio)


async def test_a_dispatch_entry_that_does_not_read_stops_nobody(redis: Redis, redis_server: EmbeddedServer) -> None:
    async with open_hub(redis_server.url) as hub:
        assignments = Assignments(hub, "bridge", "w")
        await assignments.open()
        await redis.xadd(keys.dispatch("bridge"), {"foo": "bar"})
        await hand_out(redis, Session("a" * 32, keys.at("u", "u")), "bridge")
        taken = await asyncio.wait_for(assignments.take(5), 10)
        assert [a.session.sid for a in taken] == ["a" * 32]
