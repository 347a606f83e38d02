"""What a connection says after another one has taken its place."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from runtime.embedded import EmbeddedServer
from streams.attach import Attachment
from streams.errors import Replaced
from streams.hub import Hub, open_hub
from streams.keys import new_sid
from streams.messages import Text
from streams.producer import Held, Marked, Producer
from streams.sessions import Session
from tests.contract.streams.entries import texts


@pytest.fixture
async def hub(redis_server: EmbeddedServer, redis: Redis) -> AsyncIterator[Hub]:
    async with open_hub(redis_server.url) as hub:
        yield hub


async def attached(hub: Hub, session: Session, gateway: str) -> Attachment:
    attachment = Attachment(hub.redis, session, gateway)
    assert await attachment.attach(take=True)
    return attachment


def speaker(hub: Hub, session: Session, attachment: Attachment) -> Producer:
    return Producer(hub.writer, session.keys.up, Held(attachment.value, new_sid()))


async def test_who_was_replaced_says_nothing_behind_who_came_after(hub: Hub, session: Session) -> None:
    """Old words behind new ones are nonsense to whoever listens. Also when the new one has left since."""
    old = await attached(hub, session, "g1")
    first = speaker(hub, session, old)
    await first.append(Text("1"))
    new = await attached(hub, session, "g2")
    await speaker(hub, session, new).append(Text("2"))
    with pytest.raises(Replaced):
        await first.append(Text("late"))
    await new.detach()
    with pytest.raises(Replaced):
        await speaker(hub, session, old).append(Text("later"))
    assert await texts(hub.redis, session.keys.up) == ["1", "2"]


async def test_who_was_replaced_may_say_what_he_has_until_the_other_speaks(hub: Hub, session: Session) -> None:
    """What was read from a client before it dialled again is not lost."""
    old = await attached(hub, session, "g1")
    first = speaker(hub, session, old)
    await first.append(Text("1"))
    new = await attached(hub, session, "g2")
    await first.append(Text("2"))
    await speaker(hub, session, new).append(Text("3"))
    assert await texts(hub.redis, session.keys.up) == ["1", "2", "3"]


async def test_who_has_the_session_again_goes_on(hub: Hub, session: Session) -> None:
    """His hold had run out while Redis was away, and another one came and went."""
    old = await attached(hub, session, "g1")
    first = speaker(hub, session, old)
    await first.append(Text("1"))
    new = await attached(hub, session, "g2")
    await speaker(hub, session, new).append(Text("2"))
    await new.detach()
    assert await old.attach(take=False)
    await first.append(Text("3"))
    assert await texts(hub.redis, session.keys.up) == ["1", "2", "3"]


async def test_a_resend_of_what_is_stored_is_no_late_word(hub: Hub, session: Session) -> None:
    """Its answer was lost, and another connection has spoken meanwhile."""
    old = await attached(hub, session, "g1")
    scheme = Held(old.value, new_sid())
    await Producer(hub.writer, session.keys.up, scheme).append(Text("1"))
    await speaker(hub, session, await attached(hub, session, "g2")).append(Text("2"))
    await Producer(hub.writer, session.keys.up, scheme).append(Text("1"))
    assert await texts(hub.redis, session.keys.up) == ["1", "2"]


async def test_who_holds_nothing_is_asked_for_nothing(hub: Hub, session: Session) -> None:
    """An upload beside the connection."""
    old = await attached(hub, session, "g1")
    upload = Producer(hub.writer, session.keys.up, Marked("upload"))
    await speaker(hub, session, old).append(Text("1"))
    await upload.append(Text("2"))
    await speaker(hub, session, await attached(hub, session, "g2")).append(Text("3"))
    await upload.append(Text("4"))
    assert await texts(hub.redis, session.keys.up) == ["1", "2", "3", "4"]
