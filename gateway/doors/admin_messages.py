"""PURE. What operators are told of a session as it goes on, and what they may ask for.

A line of JSON for each entry of `pcm` (what the client said) and of `down` (what it is told). Sound and words are left out,
unless the operator may listen: then sound is there as base64, and what the model's server or the client said as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec
import pybase64

from gateway.errors import InvalidRequest
from streams import down, messages, pcm
from streams.consumer import Entry
from streams.messages import Message
from streams.overview import MAX_PAGE, Cursor

MAX_BODY_BYTES = 4 << 10

ENDED_BY_OPERATOR = "ended_by_operator"
"""The reason with which an operator ends a session."""

_BYTES_PER_MS = 48

T = TypeVar("T", bound=msgspec.Struct)

Side = Literal["user", "model"]
"""`user`: what the client said; `model`: what it is told"""

_PLAIN = frozenset(
    {
        "response_id", "item_id", "previous_item_id", "call_id", "event_id",
        "output_index", "content_index", "audio_start_ms", "audio_end_ms",
    }
)  # fmt: skip
"""Fields of the model's events that hold no words. All others are left out: of what is new nobody knows."""


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    after_answer: bool = False


class Drain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    drain: bool


_LOOKS: Mapping[type[msgspec.Struct], str] = {
    End: '{"after_answer": true or false}, or nothing',
    Drain: '{"drain": true or false}',
}


def read_end(body: bytes) -> End:
    """Raises InvalidRequest, which says what to send."""
    return _read(body or b"{}", type=End)


def read_drain(body: bytes) -> Drain:
    """Raises InvalidRequest, which says what to send."""
    return _read(body, type=Drain)


def _read(body: bytes, type: type[T]) -> T:  # noqa: A002 - as msgspec calls it
    try:
        return msgspec.json.decode(body, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not right: {error}. Send {_LOOKS[type]}.") from None


def read_limit(named: str | None) -> int:
    """Raises InvalidRequest."""
    if named is None:
        return 50
    if not named.isascii() or not named.isdigit() or not 1 <= int(named[:6]) <= MAX_PAGE:
        raise InvalidRequest(f"The limit must be a number from 1 to {MAX_PAGE}.")
    return int(named)


def read_before(named: str | None) -> Cursor | None:
    """Raises InvalidRequest."""
    try:
        return None if named is None else Cursor.parse(named)
    except ValueError:
        raise InvalidRequest("`before` must be the `next` of another page.") from None


def read_flag(named: str | None) -> bool:
    """As `1` or `true` in the address."""
    return named in ("1", "true")


def told(side: Side, entry: Entry[Any], *, audio: bool, words: bool) -> dict[str, Any]:
    """One entry, as an operator gets it."""
    message: Message = entry.message
    return {"side": side, "id": str(entry.id), "kind": message.__struct_config__.tag, **_said(message, audio, words)}


def _said(message: Message, audio: bool, words: bool) -> dict[str, Any]:
    match message:
        case pcm.Audio(audio=sound):
            return _sound(sound, audio)
        case down.Audio(response=response, item=item, part=part, start_ms=start_ms, audio=sound):
            return {"response": response, "item": item, "part": part, "start_ms": start_ms, **_sound(sound, audio)}
        case down.ServerEvent(type=kind, body=body):
            return {"type": kind, **_event(bytes(body), words)}
        case messages.ClientEvent(type=kind, body=body):
            return {"type": kind, **({"event": msgspec.Raw(body)} if words else {})}
        case messages.Text(text=text, role=role, respond=respond):
            return {"role": role, "respond": respond, **({"text": text} if words else {})}
        case messages.Instructions(instructions=instructions):
            return {"instructions": instructions} if words else {}
        case _:
            fields = msgspec.to_builtins(message)
            return {name: value for name, value in fields.items() if name != "kind" and value is not None}


def _sound(sound: bytes, audio: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"ms": len(sound) / _BYTES_PER_MS}
    if audio:
        shown["audio"] = pybase64.b64encode_as_string(sound)
    return shown


def _event(body: bytes, words: bool) -> dict[str, Any]:
    if words:
        return {"event": msgspec.Raw(body)}
    try:
        event = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
    shown = {name: value for name, value in event.items() if name in _PLAIN and value is not None}
    response = event.get("response")
    if isinstance(response, dict):
        shown |= {name: response[name] for name in ("status", "usage") if response.get(name) is not None}
        shown["response_id"] = response.get("id")
    error = event.get("error")
    if isinstance(error, dict):
        shown["code"] = error.get("code")
    return shown
