"""PURE. What the app's backend may ask for in JSON, and what it is answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from gateway.errors import InvalidRequest
from streams import messages

MAX_BODY_BYTES = 256 << 10

Words = Annotated[str, msgspec.Meta(min_length=1, max_length=32_000)]


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: Words
    role: Literal["user", "system"] = "user"
    respond: bool = True

    def message(self) -> messages.Text:
        return messages.Text(self.text, self.role, self.respond)


class Instructions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    instructions: Words

    def message(self) -> messages.Instructions:
        return messages.Instructions(self.instructions)


class Switch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a recording; see `gateway.doors.api_recording`."""

    action: Literal["start", "pause", "resume"]
    consent: bool = False
    """the user agrees"""


def read_switch(body: bytes) -> Switch:
    """Raises InvalidRequest, which says what to send."""
    try:
        return msgspec.json.decode(body, type=Switch)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        looks = '{"action": "start", "pause" or "resume", "consent": true or false}; the last may be left out'
        raise InvalidRequest(f"The body is not right: {error}. Send {looks}.") from None


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    after_answer: bool = False

    def message(self) -> messages.End:
        return messages.End(ENDED_BY_APP, self.after_answer)


ENDED_BY_APP = "ended_by_app"
"""The reason with which the app's backend ends a session."""

Command = Text | Instructions | End

_LOOKS: Mapping[type[Command], str] = {
    Text: '{"text": "…", "role": "user" or "system", "respond": true or false}; the last two may be left out',
    Instructions: '{"instructions": "…"}',
    End: '{"after_answer": true or false}, or nothing',
}


def read(kind: type[Command], body: bytes) -> Command:
    """Raises InvalidRequest, which says what to send."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not right: {error}. Send {_LOOKS[kind]}.") from None


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A session in a list: its document without what was said."""

    id: str
    user: str
    conversation: str
    door: str
    status: Literal["live", "ended"]
    opened_ms: int
    ended_ms: int | None = None
    reason: str | None = None


line_of = msgspec.json.Decoder(Line).decode
"""Of a session's document."""


def read_user(named: str | None) -> str:
    """Raises InvalidRequest."""
    try:
        if named and len(named.encode()) <= MAX_USER_BYTES:
            return named
    except UnicodeEncodeError:
        pass
    raise InvalidRequest(f"Name a user: up to {MAX_USER_BYTES} bytes of UTF-8.")


MAX_USER_BYTES = 1024

MAX_LISTED = 100


def read_limit(named: str | None) -> int:
    """How many are listed at most. Raises InvalidRequest."""
    if named is None:
        return 20
    if not named.isascii() or not named.isdigit() or not 1 <= int(named[:6]) <= MAX_LISTED:
        raise InvalidRequest(f"The limit must be a number from 1 to {MAX_LISTED}.")
    return int(named)
