"""PURE. What the listener has probably heard of the answers, from what was received and when.

The model speaks faster than real time, so that it is long done while the listener still listens. Until doors report what was
played, the estimate is that a part starts when its first audio came, or when the part before it has ended, and plays on in
real time. Time is an argument, in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Part:
    """One content part of an answer."""

    response: str
    item: str
    index: int
    starts_at: float
    received_ms: float = 0.0

    def heard_ms(self, now: float) -> int:
        """Estimated; never more than was received."""
        return max(0, int(min(self.received_ms, (now - self.starts_at) * 1000)))

    @property
    def ends_at(self) -> float:
        return self.starts_at + self.received_ms / 1000


class Playback:
    """The parts that are being heard or wait to be heard, in order."""

    def __init__(self) -> None:
        self._parts: list[Part] = []

    def received(self, response: str, item: str, index: int, duration_ms: float, now: float) -> None:
        """Audio of a part came in."""
        for part in self._parts:
            if part.item == item and part.index == index:
                part.received_ms += duration_ms
                return
        self._parts = [part for part in self._parts if part.ends_at > now]
        starts_at = max([now, *(part.ends_at for part in self._parts)])
        self._parts.append(Part(response, item, index, starts_at, duration_ms))

    def is_heard(self, now: float) -> bool:
        """Whether a part has not been heard to its end."""
        return any(part.ends_at > now for part in self._parts)

    def interrupt(self, now: float) -> list[Part]:
        """The listener stops listening: the parts that were not heard to their end, in order. Nothing plays afterwards."""
        cut = [part for part in self._parts if part.ends_at > now]
        self._parts = []
        return cut
