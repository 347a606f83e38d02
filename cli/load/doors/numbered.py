"""PURE. What a client of the OpenAI door's extension keeps: numbers, what may not be stored, where it has heard up to."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]

KEPT_S = 10.0
"""As the extension asks for: an acknowledgement is not durability."""


@dataclass
class Numbered:
    session: str | None = None
    after: str = ""
    """the did up to which all was heard"""
    sent: int = 0
    acked: int = 0
    kept: deque[tuple[int, float, Object]] = field(default_factory=deque)
    lacked: int = 0
    """events that the server wanted again and that were not kept"""

    def number(self, event: Object, now: float) -> Object:
        """The event with its number; it is kept."""
        self.sent += 1
        numbered = {**event, "useq": self.sent}
        self.kept.append((self.sent, now, numbered))
        while self.kept and self.kept[0][0] <= self.acked and self.kept[0][1] < now - KEPT_S:
            self.kept.popleft()
        return numbered

    def ack(self, useq: int) -> None:
        self.acked = max(self.acked, useq)

    def from_number(self, useq: int) -> list[Object]:
        """What is to be said again."""
        if self.kept and useq < self.kept[0][0]:
            self.lacked += self.kept[0][0] - useq
        return [event for number, _, event in self.kept if number >= useq]

    def resumed(self, next_useq: int) -> list[Object]:
        """The server's real next number, which may be lower than what it has acknowledged: what is to be said again."""
        self.acked = min(self.acked, next_useq - 1)
        self.ack(next_useq - 1)
        return self.from_number(next_useq)

    @property
    def query(self) -> str:
        return f"&session={self.session}&after={self.after}" if self.session else ""
