"""PURE. Requests that are read as a whole before anything is done with them: how much of them this process holds at once.

One caller's may not take the room of all others: who sends slowly holds it for long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.errors import TooMuchAtOnce

MAX_HELD_BYTES = 256 << 20
"""Of all callers."""

MAX_HELD_BYTES_PER_CALLER = 48 << 20
"""Of one: three of the largest requests there are."""


class Bodies:
    """The bytes that are held, by caller."""

    def __init__(self) -> None:
        self._held = Counter[str]()
        self.held = 0

    @contextmanager
    def held_by(self, caller: str) -> Iterator[Callable[[int], None]]:
        """While the context lasts; gives what is to be called with the size of each piece that comes.

        It raises TooMuchAtOnce.
        """
        mine = 0

        def take(size: int) -> None:
            nonlocal mine
            if self.held + size > MAX_HELD_BYTES or self._held[caller] + size > MAX_HELD_BYTES_PER_CALLER:
                raise TooMuchAtOnce
            mine += size
            self.held += size
            self._held[caller] += size

        try:
            yield take
        finally:
            self.held -= mine
            self._held[caller] -= mine
            if not self._held[caller]:
                del self._held[caller]
