"""PURE. What a client of the openai door is told of our extension alone; see `gateway.doors.openai`."""

from __future__ import annotations

import msgspec

from streams import down
from streams.ids import EntryId

MODEL = "parley.model"

encode = msgspec.json.encode


def ack(useq: int) -> bytes:
    return encode({"type": "parley.ack", "useq": useq})


def want(useq: int) -> bytes:
    return encode({"type": "parley.want", "useq": useq})


def resumed(sid: str, next_useq: int, after: EntryId) -> bytes:
    return encode({"type": "parley.resumed", "session": sid, "next_useq": next_useq, "after": str(after)})


def resync(after: EntryId, from_: EntryId) -> bytes:
    return encode({"type": "parley.resync", "after": str(after), "from": str(from_)})


def model_line(*, is_back: bool) -> bytes:
    """The line to the model broke, or there is another one."""
    return encode({"type": MODEL, "state": "resumed" if is_back else "reconnecting"})


def closed(code: int, reason: str) -> bytes:
    return encode({"type": "parley.closed", "code": code, "reason": reason})


def notice(told: down.Notice) -> bytes:
    return encode({"type": "parley.notice", "code": told.code, "message": told.message})
