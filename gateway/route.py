"""PURE. Where what a session's client says goes: PCM16 straight to `pcm`, chunks to `up`, through a transcoder."""

from __future__ import annotations

from gateway.session import Route
from streams import turns
from streams.keys import Role
from streams.sessions import Session

ROLES: dict[Route, tuple[Role, ...]] = {"pcm": ("bridge",), "up": ("bridge", "transcoder")}
"""The workers that a session needs."""


def route_of(opened: turns.Opened) -> Route:
    """Of a client that speaks live. It stays the same for the whole session, so that nothing overtakes."""
    return "pcm" if opened.input is None else "up"


def stream_of(session: Session, route: Route) -> str:
    """The key."""
    return session.keys.up if route == "up" else session.keys.pcm
