"""PURE. The `session.update`s that the model has not answered yet: ours, and those of a client that speaks its protocol."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from realtime_bridge import client_events as say
from realtime_bridge.effects import Send
from realtime_bridge.passthrough import Change


@dataclass(frozen=True, slots=True)
class Update:
    """One of them."""

    event_id: str
    persona: str | None = None
    """that it brings, and who greets when it is there"""
    change: Change | None = None
    """the client's own, which is to hear of it"""


class Updates:
    """One conversation's, in order: the model answers them so."""

    def __init__(self) -> None:
        self._waiting: deque[Update] = deque()
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def ask(self, session: say.JsonObject, persona: str | None) -> Send:
        """For one of ours. `persona`: see `Update`."""
        self._count += 1
        event_id = f"update_{self._count}"
        self._waiting.append(Update(event_id, persona))
        return Send(say.SessionUpdate(session=session, event_id=event_id))

    def relayed(self, event_id: str, change: Change) -> None:
        """One of the client's goes upstream."""
        self._waiting.append(Update(event_id, change=change))

    def answered(self) -> Update | None:
        """The one that this `session.updated` is the answer to; None: nobody has asked."""
        return self._waiting.popleft() if self._waiting else None

    @property
    def next_is_clients(self) -> bool:
        """Whether the next `session.updated` is for the client."""
        return bool(self._waiting) and self._waiting[0].change is not None

    def are_ours(self, event_id: str | None) -> bool:
        """Whether an error that names this event is about one of ours."""
        return any(update.event_id == event_id and update.change is None for update in self._waiting)

    def refused_by(self, event_id: str | None, *, first: bool) -> Update | None:
        """Which one an error is about. `first`: nothing else was asked yet, and some servers do not name the event."""
        named = next((update for update in self._waiting if update.event_id == event_id), None)
        if named is None and event_id is None and first and self._waiting:
            return self._waiting[0]
        return named

    def remove(self, update: Update) -> None:
        """Nothing comes of it."""
        self._waiting.remove(update)

    def drop(self, event_id: str | None) -> None:
        """The client's event of this name was refused, and nothing comes of it."""
        self._waiting = deque(update for update in self._waiting if update.event_id != event_id)

    def forget(self) -> None:
        """The socket is gone, and their answers with it."""
        self._waiting.clear()
