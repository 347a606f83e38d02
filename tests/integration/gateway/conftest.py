"""What a gateway has behind it, and a session of its."""

from __future__ import annotations

import pytest

from gateway.backend import Backend
from streams import turns
from streams.hub import Hub
from streams.sessions import Session, Sessions


@pytest.fixture
def backend(hub: Hub) -> Backend:
    return Backend(hub.redis, hub.writer, hub.bus, Sessions(hub.redis), "test")


@pytest.fixture
async def session(hub: Hub) -> Session:
    return (await Sessions(hub.redis).create(turns.Opened(user="ann", door="openai"), "ann")).session
