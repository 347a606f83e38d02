"""PURE. Whoever has made a request."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.auth import NOT_SHOWN


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever has made a request."""

    user: str | None = None
    """who they have shown to be; None: they have not, and the door does not ask for it"""
    address: str = ""
    """where they are, as far as it can be known"""
    among_users: bool = False
    """others show who they are here"""
    door: str = ""
    """where they came in"""
    session: str | None = None
    """what the sessions that they open begin with, if their client secret says so: JSON, of the Realtime protocol"""
    agrees: bool | None = None
    """what their token says of being recorded"""
    recorded_by: str | None = None
    """whether the sessions that they open are recorded; see `turns.Opened`"""

    def user_or(self, otherwise: str) -> str:
        """Whose the sessions are that this caller opens.

        `otherwise`: what one who has not shown anything calls themselves. Where others have, it is marked: nobody gets at
        the session of a user by naming them.
        """
        if self.user is not None:
            return self.user
        return NOT_SHOWN + otherwise if self.among_users else otherwise
