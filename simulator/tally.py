"""PURE. What one session received and billed, as counts: small, so that they are kept when the sound is not."""

from __future__ import annotations

from collections import Counter, deque

from simulator.wire import Json, Object

_RESPONSES = 256
_KINDS = 64
"""Kinds of events that are counted apart; a client may invent any number, and the rest are one."""
_OTHERS = "(others)"


class Tally:
    def __init__(self) -> None:
        self.events = Counter[str]()
        """client events by kind, also those that were refused"""
        self.refused = 0
        self.responses: deque[Object] = deque(maxlen=_RESPONSES)
        """the latest that have ended: id, status, usage"""
        self._received = Counter[int]()
        """bytes, by the bytes of one sample"""
        self._committed = Counter[int]()

    def receive(self, kind: object) -> None:
        name = kind if isinstance(kind, str) else _OTHERS
        self.events[name if name in self.events or len(self.events) < _KINDS else _OTHERS] += 1

    def append(self, length: int, sample_bytes: int) -> None:
        """Bytes may end in the middle of a sample: the sample counts when it is whole."""
        self._received[sample_bytes] += length

    def commit(self, length: int, sample_bytes: int) -> None:
        self._committed[sample_bytes] += length

    def send(self, event: Object) -> None:
        """What the server sends: the ends of responses are remembered."""
        if event.get("type") == "response.done" and isinstance(response := event.get("response"), dict):
            self.responses.append({key: response.get(key) for key in ("id", "status", "usage")})

    @property
    def samples_received(self) -> int:
        return _samples(self._received)

    @property
    def samples_committed(self) -> int:
        return _samples(self._committed)

    def wire(self) -> Object:
        events: dict[str, Json] = dict(self.events.items())
        return {
            "samples_received": self.samples_received,
            "samples_committed": self.samples_committed,
            "client_events": events,
            "refused": self.refused,
            "responses": [*self.responses],
        }


def _samples(counted: Counter[int]) -> int:
    return sum(length // sample_bytes for sample_bytes, length in counted.items())
