"""PURE. What goes wrong on demand: on which connection, behind which event, and how.

    close=1011@7      the connection is closed with 1011 behind the 7th event that it was sent
    reset@7           … is cut off without a word
    silent@7          … says nothing any more, and answers no ping: the line is dead, and nobody has said so
    expire@7          … ends as sessions of some servers end whose time is up: an `error`, then a close with 1001
    error@7           an `error` of the server's; the session goes on
    garbage@7         a frame that is no JSON
    …@response.output_audio.delta:3      behind the third event of this kind, by its name in the current dialect
    …#2               on the second connection since the start; without it, on the first. `#*`: on each

Several may be given.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

Kind = Literal["close", "reset", "silent", "expire", "error", "garbage"]

_FORM = re.compile(
    r"(close=(?P<code>\d{4})|reset|silent|expire|error|garbage)@((?P<event>[a-z_.]+):)?(?P<after>\d+)(#(?P<connection>\d+|\*))?"
)


class BadFault(ValueError):
    """The message is a sentence."""


@dataclass(frozen=True, slots=True)
class Fault:
    kind: Kind
    after: int
    """events that were sent before"""
    code: int = 1006
    """of `close`"""
    connection: int | None = 1
    """from 1; None: each"""
    event: str | None = None
    """count events of this kind only"""

    @classmethod
    def parse(cls, text: str) -> Fault:
        found = _FORM.fullmatch(text)
        if found is None:
            raise BadFault(f"A fault is KIND@EVENT, such as close=1011@7, reset@7#2 or silent@3, not '{text}'.")
        kind = text.partition("@")[0].partition("=")[0]
        connection = found["connection"]
        return cls(
            kind,  # type: ignore[arg-type]  # the pattern knows no other
            int(found["after"]),
            int(found["code"] or 1006),
            None if connection == "*" else int(connection or 1),
            found["event"],
        )

    def strikes(self, connection: int, sent: Counter[str], last: str) -> bool:
        """Whether it is due on this connection behind an event of the kind `last`, when so many of each were sent."""
        if self.connection not in (None, connection) or self.event not in (None, last):
            return False
        return self.after == (sent.total() if self.event is None else sent[self.event])
