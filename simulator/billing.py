"""PURE. What a session has billed, kept as it is billed: what clients reckon from what they are told is held against it."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.usage import Tokens

_NOTHING = Tokens()


@dataclass(frozen=True, slots=True)
class Bill:
    """Of one response, or one transcription."""

    of: str
    """the response, or the item that was transcribed"""
    read: Tokens = _NOTHING
    cached: Tokens = _NOTHING
    """of what was read"""
    written: Tokens = _NOTHING
    seconds: float = 0.0
    """of a transcription that is billed by time"""
    status: str = "completed"


@dataclass(slots=True)
class Billing:
    responses: list[Bill] = field(default_factory=list)
    """that have ended, however they did; what was running when the connection broke is in no bill"""
    transcriptions: list[Bill] = field(default_factory=list)
    is_closed: bool = False
    """the session is over: what comes late is told to nobody, and billed to nobody"""

    def respond(self, bill: Bill) -> None:
        if not self.is_closed:
            self.responses.append(bill)

    def transcribe(self, bill: Bill) -> None:
        if not self.is_closed:
            self.transcriptions.append(bill)
