"""PURE. What of an answer may still be heard when another bridge takes the session over, read from `down`.

The bridge that said it is gone, and with it when it said what. What is behind `arrived` has not been heard yet; what is
before it may be, by a client that was sent it ahead. Only the gateway knows, and is asked when the user interrupts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from realtime_bridge.spoken import SAMPLES_PER_MS
from streams import down
from streams.consumer import Entry
from streams.ids import EntryId


@dataclass(slots=True)
class Recalled:
    """One content part."""

    response: str
    item: str
    part: int
    received_ms: int = 0
    arrived_ms: int = 0
    """of these, at the client's machine"""


def recalled(entries: Iterable[Entry[down.DownMessage]], arrived: EntryId) -> list[Recalled]:
    """The parts that are not all at the client yet, and those of the last answer; without what was interrupted."""
    parts: dict[tuple[str, int], Recalled] = {}
    for entry in entries:
        match entry.message:
            case down.Audio(response=response, item=item, part=index, start_ms=start_ms, audio=audio) if audio:
                part = parts.setdefault((item, index), Recalled(response, item, index))
                part.received_ms = max(part.received_ms, start_ms + len(audio) // 2 // SAMPLES_PER_MS)
                if entry.id <= arrived:
                    part.arrived_ms = part.received_ms
            case down.Interrupted(item=item):
                parts = {key: part for key, part in parts.items() if part.item != item}
            case _:
                pass
    last = next(reversed(parts.values())).response if parts else None
    return [part for part in parts.values() if part.arrived_ms < part.received_ms or part.response == last]
