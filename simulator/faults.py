"""PURE. What goes wrong on demand: on which connection, behind which event or after which time, and how.

    close=1011@7      the connection is closed with 1011 behind the 7th event that it was sent
    reset@7           … is cut off without a word
    silent@7          … says nothing any more, and answers no ping: the line is dead, and nobody has said so
    expire@7          … ends as sessions of some servers end whose time is up: an `error`, then a close with 1001
    error@7           an `error` of the server's; the session goes on
    error=CODE@7      an `error` with this code, such as conversation_already_has_active_response
    garbage@7         a frame that is no JSON
    zombie=3@7        the last piece of sound that was sent comes three times more
    …@response.output_audio.delta:3      behind the third event of this kind, by its name in the current dialect
    …@response.cancelled:1               behind the end of the first response that was cancelled
    …@2.5s            2.5 seconds after the connection was accepted
    http=429          the connection is refused with this status, before any WebSocket
    …#2               on the second connection since the start; without it, on the first. `#*`: on each

Several may be given.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from simulator.wire import Json, Object

Kind = Literal["close", "reset", "silent", "expire", "error", "garbage", "zombie", "http"]

CANCELLED = "response.cancelled"
"""No event of the protocol: the `response.done` of a response that was cancelled counts as this too."""

_FORM = re.compile(
    r"(http=(?P<status>[45]\d\d)"
    r"|(close=(?P<code>\d{4})|reset|silent|expire|error(=(?P<error>[a-z_]+))?|garbage|zombie=(?P<times>[1-9]\d{0,3}))"
    r"@((?P<seconds>\d+(\.\d+)?)s|((?P<event>[a-z_.]+):)?(?P<after>\d+)))"
    r"(#(?P<connection>\d+|\*))?"
)


class BadFault(ValueError):
    """The message is a sentence."""


@dataclass(frozen=True, slots=True)
class Fault:
    kind: Kind
    after: int = 0
    """events that were sent before"""
    code: int = 1006
    """of `close`; the status of `http`; how many times, of `zombie`"""
    connection: int | None = 1
    """from 1; None: each"""
    event: str | None = None
    """count events of this kind only"""
    seconds: float | None = None
    """rather than behind an event"""
    error: str | None = None
    """the code of an `error`"""

    @classmethod
    def parse(cls, text: str) -> Fault:
        found = _FORM.fullmatch(text)
        if found is None:
            raise BadFault(
                f"A fault is KIND@EVENT or KIND@SECONDSs, such as close=1011@7, reset@7#2 or silent@2.5s, or http=STATUS,"
                f" not '{text}'."
            )
        connection = found["connection"]
        return cls(
            re.split("[=@#]", text, maxsplit=1)[0],  # type: ignore[arg-type]  # the pattern knows no other
            int(found["after"] or 0),
            int(found["code"] or found["status"] or found["times"] or 1006),
            None if connection == "*" else int(connection or 1),
            found["event"],
            None if found["seconds"] is None else float(found["seconds"]),
            found["error"],
        )

    def strikes(self, connection: int, sent: Counter[str], last: str) -> bool:
        """Whether it is due on this connection behind an event of the kind `last`, when so many of each were sent."""
        if self.kind == "http" or self.seconds is not None:
            return False
        if self.connection not in (None, connection) or self.event not in (None, last):
            return False
        return self.after == (sent.total() - sent[CANCELLED] if self.event is None else sent[self.event])

    def later(self, connections: int) -> Fault:
        """The same, with connections counted from behind so many."""
        return self if self.connection is None else replace(self, connection=self.connection + connections)


class Plan:
    """The faults of one connection: events and seconds count from where the plan begins."""

    def __init__(self, faults: Iterable[Fault], connection: int, now: float) -> None:
        self._faults = tuple(faults)
        self._connection = connection
        self._sent = Counter[str]()
        mine = (each for each in self._faults if each.connection in (None, connection))
        self._timed = sorted(
            ((now + each.seconds, each) for each in mine if each.seconds is not None), key=lambda due: due[0]
        )

    def behind(self, event: Object) -> list[Fault]:
        """Those that strike behind this event, which was sent."""
        kind = str(event["type"])
        self._sent[kind] += 1
        names = [kind]
        response = event.get("response")
        if kind == "response.done" and isinstance(response, dict) and response.get("status") == "cancelled":
            self._sent[CANCELLED] += 1
            names.append(CANCELLED)
        return [each for each in self._faults if any(self._strikes(each, name, kind) for name in names)]

    def due(self, now: float) -> list[Fault]:
        """Those whose time has come, each once."""
        count = sum(at <= now for at, _ in self._timed)
        struck, self._timed = self._timed[:count], self._timed[count:]
        return [fault for _, fault in struck]

    def timer(self) -> float | None:
        return self._timed[0][0] if self._timed else None

    def _strikes(self, fault: Fault, name: str, kind: str) -> bool:
        if fault.event is None and name != kind:
            return False
        return fault.strikes(self._connection, self._sent, name)


def refusal(faults: Iterable[Fault], connection: int) -> int | None:
    """The HTTP status with which this connection is refused."""
    return next((each.code for each in faults if each.kind == "http" and each.connection in (None, connection)), None)


def read_script(text: str) -> tuple[Fault, ...]:
    """A list of faults in JSON, or one a line. Each is a string, or {"connection": 2 or "*", "faults": [strings]}."""
    try:
        whole = msgspec.json.decode(text)
        entries = whole if isinstance(whole, list) else [whole]
    except msgspec.DecodeError:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            entries = [msgspec.json.decode(line) for line in lines]
        except msgspec.DecodeError as error:
            raise BadFault(f"A script is JSON, in a list or one fault a line, and this is neither: {error}.") from error
    return tuple(fault for entry in entries for fault in _entry(entry))


def _entry(entry: Json) -> Iterable[Fault]:
    match entry:
        case str():
            return [Fault.parse(entry)]
        case {"connection": int() | "*" as connection, "faults": list(faults), **rest} if (
            not rest and connection is not True
        ):
            if any(not isinstance(each, str) or "#" in each for each in faults):
                raise BadFault(f"The faults of connection {connection} are strings without a #.")
            return [Fault.parse(f"{each}#{connection}") for each in faults]
    raise BadFault(
        f'A line of a script is a fault, or {{"connection": 2, "faults": [...]}}, not {msgspec.json.encode(entry).decode()}.'
    )
