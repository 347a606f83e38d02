"""PURE. A client that numbers what it sends and is told what is stored: which number is next, and when to say so."""

from __future__ import annotations

from enum import Enum, auto

ACK_EVERY_S = 0.1
ACK_EVERY_EVENTS = 10
"""An acknowledgement covers all before it, so it need not be said for every event: after so many, or so long."""


class Offer(Enum):
    """What becomes of a numbered event."""

    TAKE = auto()
    """it is the next one"""
    AGAIN = auto()
    """it was taken before: it is acknowledged, and nothing else"""
    WANT = auto()
    """something before it is missing, which the client is to be told"""
    AHEAD = auto()
    """something before it is missing, which the client has been told"""


class Numbering:
    """One connection's numbers, from `first`: what comes before it is stored."""

    def __init__(self, first: int) -> None:
        self.next = first
        """the only number that is taken"""
        self.stored = first - 1
        self._acked_at = float("-inf")
        self._owed = 0
        """events that the client awaits an acknowledgement for"""
        self._wanting = False

    def offer(self, useq: int) -> Offer:
        """The client sends this number. What is to be taken is taken when `took` is called."""
        if useq == self.next:
            return Offer.TAKE
        if useq < self.next:
            self._owed += useq <= self.stored
            return Offer.AGAIN
        told, self._wanting = self._wanting, True
        return Offer.AHEAD if told else Offer.WANT

    def took(self) -> None:
        """The event with the next number is on its way."""
        self.next += 1
        self._wanting = False

    def go_back(self, useq: int) -> None:
        """It was not stored, from this number on: the client is to be told, and sends it again."""
        self.next, self._wanting = useq, True
        self.stored = max(self.stored, useq - 1)

    def has_stored(self, useq: int) -> None:
        """All events up to this one are stored."""
        self._owed += max(0, useq - self.stored)
        self.stored = max(self.stored, useq)

    def ack_at(self) -> float | None:
        """When the next acknowledgement is due; None when none is. In the past: at once."""
        if not self._owed:
            return None
        return float("-inf") if self._owed >= ACK_EVERY_EVENTS else self._acked_at + ACK_EVERY_S

    def ack(self, now: float) -> int:
        """The number that is acknowledged now, with all before it."""
        self._owed, self._acked_at = 0, now
        return self.stored
