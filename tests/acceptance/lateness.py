"""How late this machine is: what a test that judges moments must not take for the system's own doing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

EVERY_S = 0.01


class Lateness:
    """Of this process: by how much a timer comes later than it should. Of others: how long they had something to do, and
    waited for a processor. Moments are of the loop's clock, all is in seconds."""

    def __init__(self, pids: Sequence[int] = ()) -> None:
        self._files = [Path(f"/proc/{pid}/schedstat") for pid in pids]
        self._found: list[tuple[float, float]] = []

    async def watch(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        before = [waited_s(file) for file in self._files]
        while True:
            due = loop.time() + EVERY_S
            await asyncio.sleep(EVERY_S)
            now = [waited_s(file) for file in self._files]
            self._found.append((loop.time(), loop.time() - due))
            self._found += [(loop.time(), later - earlier) for earlier, later in zip(before, now, strict=True)]
            before = now

    def worst(self, since: float) -> float:
        """The longest at once."""
        return max((late for at, late in self._found if at >= since), default=0.0)

    def lost(self, since: float, until: float) -> float:
        """All that was long enough to matter."""
        return sum(late for at, late in self._found if since <= at <= until + EVERY_S and late > EVERY_S)


def waited_s(file: Path) -> float:
    """So far; 0 where the kernel does not count it, and of a process that is gone."""
    try:
        return int(file.read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0
