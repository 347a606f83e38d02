"""What can go wrong on Redis, and whose fault it is.

StreamError
├── MalformedEntry        an entry does not read as what it says it is    fault: the writer; that entry is lost
│   └── UnsupportedVersion    written by a newer Parley than this one     fault: the deployment; that entry is lost
├── StreamRefusal         the append script did not store the entry       final for this writer
│   ├── Over              the session has ended; its streams are gone
│   ├── Replaced          a newer gen is open: another connection, codec or header has taken over the uplink
│   ├── Fenced            a newer epoch is open: another bridge has taken over the downlink
│   ├── LeaseLost         another bridge may have taken over the session, whether it has opened an epoch or not
│   └── Wanted            a number before it is missing; send again from there (recoverable)
├── StreamFull            more is waiting to be written than may wait     fault: a fast writer or a slow server
├── StreamUnavailable     the server did not answer                       recoverable: the same append may be sent again
│   └── ServerFull        its memory is full: it stores nothing more      recoverable, when there is room again
└── ServerUnfit           the server cannot keep our promises             fault: the operator
"""

from __future__ import annotations

from streams.ids import EntryId


class StreamError(Exception):
    """The root of all that can go wrong on Redis."""


class MalformedEntry(StreamError):
    """An entry that does not read as what its `kind` says."""


class UnsupportedVersion(MalformedEntry):
    """An entry of a kind or version that only a newer Parley knows."""


class StreamRefusal(StreamError):
    """The append script stored nothing."""

    sentence = "the entry was refused"

    def __init__(self, key: str, last: EntryId | None = None) -> None:
        self.key, self.last = key, last
        super().__init__(f"{key}: {self.sentence}" + (f" (last id {last})" if last else ""))


class Over(StreamRefusal):
    sentence = "the session has ended"


class Replaced(StreamRefusal):
    sentence = "a newer connection has taken over the uplink"


class Fenced(StreamRefusal):
    sentence = "a newer bridge has taken over the session"


class LeaseLost(StreamRefusal):
    """No effect any more, not a word. Also raised where Redis was not asked: the lease has run out by our own clock."""

    sentence = "somebody else may be this session's bridge by now"


class Wanted(StreamRefusal):
    """`after` is the number (or the id, where ids are exact) that is stored; the writer sends what follows it."""

    sentence = "something before this entry is missing"

    def __init__(self, key: str, after: str) -> None:
        self.after = after
        super().__init__(key)


class StreamFull(StreamError):
    """The queue in front of a stream is full."""


class StreamUnavailable(StreamError):
    """Redis did not answer, or answered that it cannot write now."""


class ServerFull(StreamUnavailable):
    """Redis has reached its `maxmemory`: what is there can be read, renewed and deleted, and nothing can be added."""


class ServerUnfit(StreamError):
    """The Redis server is too old, or may throw our keys away."""
