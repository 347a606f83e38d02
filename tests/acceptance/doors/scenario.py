"""One scenario for all doors: read from a file, played by whoever speaks at a door."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance.doors.caller import Caller
from tests.media.make_media import Samples, as_samples, correlation, lag, speech

FILE = Path(__file__).parent / "scenario.json"
RATE = 24_000


@dataclass(frozen=True)
class Scenario:
    steps: tuple[dict[str, Any], ...]
    answer: bytes
    """what the model says each time, PCM16 24 kHz mono"""

    @property
    def spoken(self) -> list[bytes]:
        """What the person says, in order."""
        return [_pcm(step["speak"]) for step in self.steps if "speak" in step]


def read() -> Scenario:
    content = json.loads(FILE.read_text())
    return Scenario(tuple(content["steps"]), _pcm(content["answer"]))


async def play(scenario: Scenario, caller: Caller, answer_is_complete: Callable[[int], bool]) -> None:
    """`answer_is_complete`: whether the answer to the n-th thing that was said has been heard to its end."""
    spoken = 0
    for step in scenario.steps:
        match step:
            case {"speak": what}:
                spoken += 1
                await caller.speak(_pcm(what))
            case {"hear": "an answer"}:
                await caller.heard.until(lambda so_far=spoken: answer_is_complete(so_far))  # type: ignore[misc]
            case {"hear": "its beginning", "seconds": seconds}:
                await caller.heard.until_seconds(seconds)
            case {"end": True}:
                await caller.end()
            case _:
                raise AssertionError(f"no such step: {step}")


def is_like(heard: bytes, wanted: bytes, rate: int) -> bool:
    """Whether what was heard is what was said, whole: as long (within 20 ms), and the same sound."""
    one, other = at_24k(heard, rate), as_samples(wanted)
    return abs(len(one) - len(other)) <= RATE // 50 and likeness(one, other) >= 0.98


def likeness(one: Samples, other: Samples, apart: int = RATE // 50) -> float:
    """Correlation where they fit best, at most so many samples apart."""
    shift = lag(one, other, apart)
    return correlation(one[max(shift, 0) :], other[max(-shift, 0) :])


def at_24k(pcm: bytes, rate: int) -> Samples:
    from tests.acceptance.doors.caller import resampled

    return as_samples(resampled(pcm, rate, RATE) if rate != RATE else pcm)


def _pcm(what: dict[str, Any]) -> bytes:
    return speech(what["source"], RATE, "mono")[: round(what["seconds"] * RATE)].astype("<i2").tobytes()
