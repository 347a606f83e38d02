"""How a producer's events get their ids: the ways that append.lua knows, and what its answers mean in each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from redis.typing import EncodableT

from streams.errors import Fenced, Replaced, StreamRefusal
from streams.ids import EntryId

HELD = b"held"
"""The way that needs to know whose connection the session's is: one more key of append.lua."""


class Scheme(ABC):
    """How a producer's events get their ids: ARGV[1…4] of append.lua."""

    refusal: type[StreamRefusal] = Replaced
    """what it means when somebody has opened a newer gen or epoch"""
    alone_for_s = 0.0
    """so long after a producer began, each of its events is an entry of its own"""

    @abstractmethod
    def arguments(self, first: int, last: int) -> Sequence[EncodableT]:
        """For the entry that carries events `first` to `last`, counted from 1."""

    def stored(self, last: int) -> None:  # noqa: B027 - most schemes need not know
        """Event `last` and all before it are stored."""

    def last_of(self, where: bytes) -> int | None:
        """Read from a `want`: the last event of this producer that the server has; None when that does not tell."""
        return int(where)


class Marked(Scheme):
    """Whoever does not number: `<newest gen>-*`, told apart by writer and count."""

    def __init__(self, writer_id: str) -> None:
        self.writer_id = writer_id

    def arguments(self, first: int, last: int) -> Sequence[EncodableT]:
        return (b"marked", self.writer_id, first, last)


class Held(Marked):
    """As `Marked`, of a connection that has the session by this attachment: refused once one that came after it has stored
    something."""

    def __init__(self, attachment: str, writer_id: str) -> None:
        super().__init__(f"{attachment}/{writer_id}")

    def arguments(self, first: int, last: int) -> Sequence[EncodableT]:
        return (HELD, self.writer_id, first, last)


class Numbered(Scheme):
    """A client that numbers: `<gen>-<n * 4096>`; the script takes the next number only.

    What it says first may be a resend of what a server has lost, and whoever listens has heard: under the same ids it is
    not heard again, but joined otherwise than it was it would be. It keeps what it has said for ten seconds.
    """

    alone_for_s = 12.0

    def __init__(self, gen: int) -> None:
        self.gen = gen

    def arguments(self, first: int, last: int) -> Sequence[EncodableT]:
        return (b"numbered", self.gen, first, last)


class Chained(Scheme):
    """The only writer of a reign: its n-th event is `<epoch>-<n>`, right behind the one before."""

    refusal = Fenced

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def arguments(self, first: int, last: int) -> Sequence[EncodableT]:
        return (b"exact", f"{self.epoch}-{last}", f"{self.epoch}-{first - 1}", b"")

    def last_of(self, where: bytes) -> int | None:
        tip = EntryId.parse(where)
        return tip.right if tip.left == self.epoch else None


class Assigned(Scheme):
    """Ids that follow from what the work was made of (`streams.ids.piece`): work done twice is refused once.

    `last`: what the stream holds at least. A server that has lost it wants that first: the work is to be done again from
    where it stands now (Wanted).
    """

    def __init__(self, last: EntryId | None = None) -> None:
        self._ids: dict[int, EntryId] = {}
        self.last = last

    def assign(self, number: int, entry_id: EntryId) -> None:
        """The id of the producer's event `number`; call it before `append`."""
        self._ids[number] = entry_id

    def arguments(self, first: int, last: int) -> Sequence[EncodableT]:
        before = self._ids.get(first - 1, self.last)
        return (b"made", str(self._ids[last]), str(before) if before else b"", b"")

    def stored(self, last: int) -> None:
        if (entry_id := self._ids.pop(last, None)) is not None:
            self.last = entry_id

    def last_of(self, where: bytes) -> int | None:
        return None
