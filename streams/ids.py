"""PURE. Entry ids: order, de-duplication and fencing in one pair of numbers.

A Redis stream refuses every id that is not above its last one, also after a trim. Both directions build on that:

* uplink ids are `<gen>-<seq>`: *gen* is one numbering (a client that numbers, a codec, a stream header), *seq* counts in it;
* downlink ids are `<epoch>-<n>`: *epoch* is one bridge's reign, *n* counts what it said.

Both left halves come from the clock, `max(last + 1, now_ms)`, never from a counter: a failover may turn a counter back.
"""

from __future__ import annotations

from typing import NamedTuple

SEQ_STRIDE = 4096
"""Distance between the ids of two numbered events. What is appended between them (an end, a timer, an operator's word)
and the pieces a transcoder makes from one entry find room in the gap."""


class EntryId(NamedTuple):
    """A stream entry's id; compares as Redis compares it."""

    left: int
    """gen (uplink) or epoch (downlink), milliseconds since 1970"""
    right: int
    """seq (uplink) or n (downlink)"""

    def __str__(self) -> str:
        return f"{self.left}-{self.right}"

    def __bytes__(self) -> bytes:
        return b"%d-%d" % (self.left, self.right)

    @classmethod
    def parse(cls, text: bytes | str) -> EntryId:
        """From Redis's own `<left>-<right>`. Raises ValueError for anything else."""
        left, dash, right = (text.decode() if isinstance(text, bytes) else text).partition("-")
        if not dash:
            raise ValueError(f"not an entry id: {text!r}")
        return cls(int(left), int(right))


ZERO = EntryId(0, 0)
"""Below every entry: read from here to read all."""

BIRTH = EntryId(0, 1)
"""The entry that creates `down` and `turns`: below every epoch."""


def next_left(last: EntryId, now_ms: int) -> int:
    """A gen or an epoch that is above all that the stream has seen, even if this machine's clock lags behind."""
    return max(last.left + 1, now_ms)


def numbered(gen: int, useq: int) -> EntryId:
    """The id of a numbering client's `useq`-th event (from 1)."""
    return EntryId(gen, useq * SEQ_STRIDE)


def next_useq(last: EntryId, gen: int) -> int:
    """The number a numbering client must send next, read from the last id of its stream."""
    return last.right // SEQ_STRIDE + 1 if last.left == gen else 1


def just_before(entry: EntryId) -> EntryId:
    """The highest id below this one: where to read behind to begin with it. Of ZERO itself."""
    if entry.right:
        return EntryId(entry.left, entry.right - 1)
    return EntryId(entry.left - 1, (1 << 64) - 1) if entry.left else ZERO


def piece(source: EntryId, k: int) -> EntryId:
    """The id of the k-th piece (from 0) that the transcoder makes of the entry `source`.

    A function of the source alone, so that a worker that does the work again writes the same ids and is refused.
    Raises ValueError when k does not fit between two sources.
    """
    if not 0 <= k < SEQ_STRIDE:
        raise ValueError(f"piece {k} of {source}: one entry makes at most {SEQ_STRIDE} pieces")
    return EntryId(source.left, source.right * SEQ_STRIDE + k)
