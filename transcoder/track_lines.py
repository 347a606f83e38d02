"""PURE. What the tracks of a recorded call say, line by line. Times are ms since 1970 by Redis's clock."""

from __future__ import annotations

import msgspec


class Line(msgspec.Struct, frozen=True, tag_field="line"):
    at_ms: int
    """when it came"""


class Spoken(Line, frozen=True, tag="spoken"):
    """The client has sent speech."""

    offset: int
    """of its first sample in the track"""
    samples: int


class Whole(Line, frozen=True, tag="whole"):
    """The speech since the one before was one whole recording, sent when it had ended."""

    arrived_ms: int = 0
    """when it was there, by its gateway's clock: before it was decoded, and its session was handed to somebody"""


class Generated(Line, frozen=True, tag="generated"):
    """A piece of an answer."""

    entry: str
    item: str
    part: int
    start_ms: int
    offset: int
    samples: int


class Happened(Line, frozen=True, tag="happened"):
    """An event of the call."""

    type: str
    body: msgspec.Raw = msgspec.Raw(b"null")
    """JSON"""


class Switch(Line, frozen=True, tag="switch"):
    on: bool
    by: str


class Stretch(msgspec.Struct, frozen=True):
    """Of one part of an answer, as a client hears it without a break."""

    item: str
    part: int
    from_ms: float
    ms: float
    begins_ms: float

    @property
    def ends_ms(self) -> float:
        return self.begins_ms + self.ms


class Played(msgspec.Struct, frozen=True):
    """A client's report."""

    item: str
    part: int
    ms: float
    at_ms: float


class Plays(Line, frozen=True, tag="plays"):
    """What is heard over one connection from a moment on; see `streams.heard.Playing`. All times are absolute here."""

    connection: str
    after: str
    exact: bool
    since_ms: float
    stretches: tuple[Stretch, ...]
    reports: tuple[Played, ...]


class Gone(Line, frozen=True, tag="gone"):
    connection: str


AnyLine = Spoken | Whole | Generated | Happened | Switch | Plays | Gone
