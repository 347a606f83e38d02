"""What a producer has been given and is not stored yet."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from streams import codec
from streams.ids import EntryId
from streams.messages import Message


@dataclass(slots=True)
class Unstored:
    """An entry on its way: events `first` to `last` of this producer in one message."""

    first: int
    last: int
    message: Message
    fields: codec.Fields
    stamp: codec.Fields
    """when the first of them was given to be stored; it is among the fields"""
    stored: list[asyncio.Future[EntryId]] = field(default_factory=list)
    frozen: bool = False
    """sent once: from now on it is resent as it is, and nothing joins it"""
    stored_at: float = 0.0
    size: int = field(init=False)
    """bytes of its fields"""

    def __post_init__(self) -> None:
        self.size = sum(map(len, self.fields))

    def takes(self, number: int, joined: Message) -> None:
        """Events up to this one are in it now, which are one message together."""
        self.last, self.message = number, joined
        self.fields = [*codec.encode(joined), b"first", b"%d" % self.first, *self.stamp]
        self.size = sum(map(len, self.fields))
