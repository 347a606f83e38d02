"""PURE. What the listener hears of the answers, and what of them an interruption cuts off.

The model speaks faster than real time, so that it is long done while the listener still listens. Only the gateway knows how
far the listener is (what its client reports, or the clock by which it is sent its audio). So an interruption asks it, about
the parts that may still be heard. Who gets no answer estimates: a part starts when its first audio came, or when the part
before it has ended, and plays on in real time. Time is an argument, in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

MAY_LAG_S = 15.0
"""A listener may be so far behind the estimate: a slow line makes a paced schedule slip, a WAV begins when it is whole."""

ECHO_LAG_S = 0.3
"""From when a sound is sent to a listener until its echo comes back: two ways, two buffers, a room."""

_ROUNDING_MS = 1.0


@dataclass(slots=True)
class Part:
    """One content part of an answer."""

    response: str
    item: str
    index: int
    starts_at: float
    received_ms: float = 0.0
    complete: bool = False
    """all of its audio has come"""

    def estimated_ms(self, now: float) -> int:
        """How much of it was probably heard; never more than was received."""
        return max(0, int(min(self.received_ms, (now - self.starts_at) * 1000)))

    @property
    def ends_at(self) -> float:
        return self.starts_at + self.received_ms / 1000


class Cut(NamedTuple):
    """A part that was not heard to its end."""

    part: Part
    heard_ms: int
    alone: bool
    """nothing of its item was heard"""


Heard = Mapping[tuple[str, int], int]
"""(item, content index) → ms that were heard, of the parts that the gateway knows of"""


class Playback:
    """The parts that are being heard, wait to be heard, or were heard a moment ago, in order."""

    def __init__(self) -> None:
        self._parts: list[Part] = []

    def received(self, response: str, item: str, index: int, duration_ms: float, now: float) -> None:
        """Audio of a part came in."""
        for part in self._parts:
            if part.item == item and part.index == index:
                part.received_ms += duration_ms
                return
        self._parts = self.listened_to(now)
        starts_at = max([now, *(part.ends_at for part in self._parts)])
        self._parts.append(Part(response, item, index, starts_at, duration_ms))

    def recall(self, response: str, item: str, index: int, received_ms: float, arrived_ms: float, now: float) -> None:
        """A part that another bridge has received, in order. What has arrived of it counts as heard just now."""
        begins = max([now - arrived_ms / 1000, *(part.ends_at for part in self._parts)])
        self._parts.append(Part(response, item, index, begins, received_ms, complete=True))

    def complete(self, item: str, index: int) -> None:
        """All audio of a part has come."""
        for part in self._parts:
            part.complete |= part.item == item and part.index == index

    def complete_all(self) -> None:
        """No more audio comes, of any part."""
        for part in self._parts:
            part.complete = True

    def done(self, response: str) -> None:
        """All audio of an answer has come."""
        for part in self._parts:
            part.complete |= part.response == response

    def listened_to(self, now: float) -> list[Part]:
        """The parts that somebody may be listening to, or about to."""
        return [part for part in self._parts if not part.complete or part.ends_at > now - MAY_LAG_S]

    def until(self, now: float) -> float:
        """When the last of them has probably been heard."""
        return max([now, *(part.ends_at for part in self._parts)])

    def may_echo(self, now: float, deaf_ms: int | None) -> bool:
        """Whether what a microphone brings now may be the echo of the first `deaf_ms` of an answer (None: of all of it)."""
        begun: set[str] = set()
        for part in self._parts:
            deaf_s = part.received_ms / 1000 if deaf_ms is None else deaf_ms / 1000
            is_first = part.response not in begun
            begun.add(part.response)
            if (is_first or deaf_ms is None) and part.starts_at <= now < part.starts_at + deaf_s + ECHO_LAG_S:
                return True
        return False

    def interrupt(self, now: float) -> list[Part]:
        """The listener stops listening: what is to be asked about, in order. Nothing plays afterwards."""
        parts, self._parts = self.listened_to(now), []
        return parts


def cuts(parts: Sequence[Part], heard: Heard, interrupted_at: float) -> list[Cut]:
    """Which of these parts were not heard to their end.

    What the gateway does not know of was heard, if it knows of a part behind it, and was not, if it knows of one before.
    """
    known = [at for at, part in enumerate(parts) if (part.item, part.index) in heard]

    def heard_ms(at: int, part: Part) -> int:
        if (part.item, part.index) in heard:
            return max(0, min(heard[part.item, part.index], int(part.received_ms)))
        if known and at < known[-1]:
            return int(part.received_ms)
        return 0 if known else part.estimated_ms(interrupted_at)

    played = [(part, heard_ms(at, part)) for at, part in enumerate(parts)]
    touched = {part.item for part, ms in played if ms > 0}
    return [
        Cut(part, ms, alone=part.item not in touched)
        for part, ms in played
        if not (part.complete and ms >= part.received_ms - _ROUNDING_MS)
    ]
