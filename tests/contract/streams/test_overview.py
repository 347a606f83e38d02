"""Sessions as operators see them, on a real server: a page at a time, whatever has become of the rest."""

from __future__ import annotations

from redis.asyncio import Redis

from streams import gateways, keys, overview
from streams.attach import Attachment
from streams.gateways import Gateway
from streams.keys import SessionKeys
from streams.play import open_play
from streams.sessions import Sessions, now_ms
from streams.turns import Opened


async def test_a_session_that_is_gone_leaves_no_line(redis: Redis) -> None:
    """Its keys have run out, but it is still listed."""
    sessions = Sessions(redis)
    stays = (await sessions.create(Opened(user="ann", door="mobile", persona="sun"), "a")).session
    goes = (await sessions.create(Opened(user="bob", door="mobile"), "b")).session
    await redis.unlink(*SessionKeys(goes.sid).all)
    page = await overview.page(redis)
    assert [(line.id, line.user, line.conversation, line.persona) for line in page.sessions] == [
        (stays.sid, "ann", "a", "sun")
    ]
    assert await overview.line(redis, goes.sid) is None
    assert (await overview.page(redis, user="bob")).sessions == []


async def test_who_has_it_and_what_is_heard(redis: Redis) -> None:
    session = (await Sessions(redis).create(Opened(user="ann", door="watch", input="opus"), "a")).session
    assert (before := await overview.line(redis, session.sid)) is not None
    assert (before.state, before.gateway, before.input, before.output) == ("detached", None, "opus", "pcm16")
    assert await Attachment(redis, session, "host:17").attach(take=True)
    await open_play(redis, session, "aac")
    assert (line := await overview.line(redis, session.sid)) is not None
    assert (line.state, line.gateway, line.output, line.bridge) == ("quiet", "host:17", "aac", None)


async def test_a_gateway_that_died_is_struck_off_with_its_wish(redis: Redis) -> None:
    """And one that is started again under its name has forgotten what was wished."""
    alive = Gateway(name="a:1", at_ms=now_ms(), since_ms=0, connections=3, draining=False)
    dead = Gateway(name="b:1", at_ms=now_ms() - gateways.GONE_MS - 1, since_ms=0, connections=0, draining=False)
    assert not await gateways.renew(redis, alive, fresh=True)
    await gateways.renew(redis, dead)
    assert await gateways.wish(redis, "a:1", drain=True)
    assert await gateways.wish(redis, "b:1", drain=True)
    assert await gateways.listed(redis) == [alive]
    assert await redis.hkeys(keys.GATEWAYS) == [b"a:1", b"a:1/drain"]
    assert await gateways.renew(redis, alive)
    assert not await gateways.renew(redis, alive, fresh=True)
    assert await redis.pttl(keys.GATEWAYS) > 0
    await gateways.leave(redis, "a:1")
    assert not await gateways.wish(redis, "a:1", drain=True)
    assert await redis.exists(keys.GATEWAYS) == 0
