"""PURE. What is to happen later, and what is to be sent now: the two ends of the state machine."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TypeAlias

from simulator.errors import Refused
from simulator.ids import Ids
from simulator.wire import Object


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection."""

    code: int
    reason: str


Effect: TypeAlias = "Object | Close"
"""An event to send, or the end."""


class Agenda:
    """Actions with a time. An action is called with the time it was due, so that lateness never adds up."""

    def __init__(self) -> None:
        self._actions: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = count()

    def at(self, due: float, action: Callable[[float], None]) -> None:
        """Never, for an infinite `due`."""
        if due < math.inf:
            heapq.heappush(self._actions, (due, next(self._numbers), action))

    def timer(self) -> float | None:
        """When `run` has something to do."""
        return self._actions[0][0] if self._actions else None

    def run(self, now: float) -> None:
        """Do all that is due by now, in the order of time."""
        while self._actions and self._actions[0][0] <= now:
            due, _, action = heapq.heappop(self._actions)
            action(due)


class Outbox:
    """Events in the order they are to be sent, each with an id of its own."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._effects: list[Effect] = []

    def emit(self, event: Object) -> None:
        event["event_id"] = self._ids.new("event")
        self._effects.append(event)

    def refuse(self, refused: Refused, event_id: str | None = None) -> None:
        self.emit(refused.event(event_id))

    def close(self, code: int, reason: str) -> None:
        self._effects.append(Close(code, reason))

    def take(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects
