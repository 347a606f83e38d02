"""Where a connection takes its session up, and what becomes of the session when no connection comes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.backend import Backend
from gateway.goodbye import to_its_end
from gateway.naming import Opened, let_go
from gateway.session import ClientSession
from streams.ids import BIRTH, EntryId


@dataclass(frozen=True, slots=True)
class Place:
    """Where a connection takes a session up."""

    after: EntryId
    """of `down`: what is behind it has not reached the client"""
    state: ClientSession
    exact: bool = False
    """the client itself has said so"""


async def place_of(backend: Backend, opened: Opened) -> Place:
    """Where the connection before has left it. Raises StreamUnavailable."""
    if not opened.resumed:
        return Place(BIRTH, ClientSession())
    sessions, session = backend.sessions, opened.session
    arrived = await sessions.cursor(session, "arrived")
    in_up = await sessions.last_id(session, "up") is not None
    in_pcm = await sessions.last_id(session, "pcm") is not None
    return Place(arrived or BIRTH, ClientSession.resumed(in_up=in_up, in_pcm=in_pcm))


@asynccontextmanager
async def on_the_way(backend: Backend, opened: Opened) -> AsyncIterator[None]:
    """Between taking a session and the connection that holds it: when that comes to nothing, the session is let go."""
    arrived = False
    try:
        yield
        arrived = True
    finally:
        if not arrived:
            await to_its_end(let_go(backend, opened))
