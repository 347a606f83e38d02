"""PURE. What a request to the watch door says besides audio: which conversation, with what history, heard how far."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import pybase64

from gateway.errors import InvalidMessage
from streams.ids import EntryId
from streams.turns import HistoryLine

MAX_CONVERSATION_CHARS = 256

MAX_HISTORY_LINES = 10

MAX_HISTORY_CHARS = 64 << 10
"""Of all lines together. Older ones that do not fit are left out."""


def conversation(query: Mapping[str, str]) -> str:
    """The conversation that a request is about. Raises InvalidMessage."""
    named = query.get("conversationId", "")
    if not named.strip():
        raise InvalidMessage("The conversationId is missing: put ?conversationId=<id> into the address.")
    return checked(named)


def checked(named: str) -> str:
    """It, if a conversation may be called so. Raises InvalidMessage."""
    try:
        named.encode()
    except UnicodeEncodeError:
        raise InvalidMessage("The conversationId is not UTF-8.") from None
    if len(named) > MAX_CONVERSATION_CHARS:
        raise InvalidMessage(f"The conversationId must have 1 to {MAX_CONVERSATION_CHARS} characters.")
    return named


@dataclass(frozen=True, slots=True)
class History:
    """What was said before, as the client tells it."""

    lines: tuple[HistoryLine, ...] = ()
    trouble: str | None = None
    """what of it could not be read, for the log; without its content"""


_BASE64 = str.maketrans("-_ ", "+/+")
"""Both alphabets, and the plus sign that an address turns into a space."""


def history_in_address(base64: str) -> History:
    """The field does not percent-encode it: a plus sign has become a space by now, and the padding may be missing."""
    if not base64:
        return History()
    plain = base64.translate(_BASE64).rstrip("=")
    try:
        text = pybase64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        return history(msgspec.json.decode(text))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return History(trouble=f"it is no base64 of JSON ({type(error).__name__})")


def history(told: object) -> History:
    """From a list of `{"role", "content"}`. What is no line is left out; of what is left, the last ten lines count."""
    if not isinstance(told, list):
        return History(trouble="it is no list")
    lines = [_line(one) for one in told]
    good = [line for line in lines if line is not None]
    kept: list[HistoryLine] = []
    room = MAX_HISTORY_CHARS
    for line in reversed(good[-MAX_HISTORY_LINES:]):
        room -= len(line.content)
        if room < 0:
            break
        kept.append(line)
    bad = len(lines) - len(good)
    return History(tuple(reversed(kept)), f"{bad} of its {len(lines)} lines are none" if bad else None)


def _line(told: object) -> HistoryLine | None:
    match told:
        case {"role": "user" | "assistant" as role, "content": str(content)} if content:
            return HistoryLine(role, content)
        case _:
            return None


_LAST_EVENT = re.compile(r"(?:([0-9a-f]{32})/)?([0-9]{1,18})-([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Heard:
    """Up to where a client has heard."""

    did: EntryId
    sid: str | None = None
    """of the session; None when the client does not say"""


def last_event(header: str | None) -> Heard | None:
    """What `Last-Event-ID` says. None for what cannot be read: the client goes on behind what is known to have arrived."""
    found = _LAST_EVENT.fullmatch((header or "").strip())
    if found is None:
        return None
    sid, epoch, number = found.groups()
    return Heard(EntryId(int(epoch), int(number)), sid)


def event_id_prefix(sid: str) -> str:
    """Stands before a `did` in the id of an event: a name is used again, and then another session has it."""
    return f"{sid}/"
