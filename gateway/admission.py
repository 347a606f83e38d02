"""Who may come in, and as whom."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever has made a request."""

    user: str | None = None
    """who they have shown to be; None: they have not, and the door does not ask for it"""

    def user_or(self, otherwise: str) -> str:
        """Whose the sessions are that this caller opens."""
        return self.user or otherwise


async def admit(request: web.Request, door: str) -> Caller:
    """Let the maker of this request in, or raise NotAdmitted."""
    return Caller()
