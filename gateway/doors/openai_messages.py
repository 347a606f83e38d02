"""PURE. The JSON of the openai door: what a Realtime client may say, what it is told, and in-protocol errors for the rest.

Speech, commit and clear are taken apart here. All other events go to the model as they came, and what is inside them is for
the model to judge: here they only have to be events, with what they cannot do without.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import msgspec
import pybase64

from gateway.doors.openai_shapes import Object
from gateway.errors import DoorError, Refused
from streams import down, stopping
from streams.ids import EntryId

MAX_EVENT_CHARS = 15 << 20
"""Of one event, and of the base64 in one append: the API's own limit."""

MAX_EVENT_ID_CHARS = 512

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "session.update": ("session",),
    "input_audio_buffer.append": ("audio",),
    "input_audio_buffer.commit": (),
    "input_audio_buffer.clear": (),
    "conversation.item.create": ("item",),
    "conversation.item.retrieve": ("item_id",),
    "conversation.item.truncate": ("item_id", "content_index", "audio_end_ms"),
    "conversation.item.delete": ("item_id",),
    "response.create": (),
    "response.cancel": (),
}
"""The client events there are, and what each cannot do without. `output_audio_buffer.clear` is for WebRTC and SIP."""

RECEIVED, PLAYED = "parley.received", "parley.played"

_USEQ = struct.Struct(">Q")
_SID = re.compile(r"[0-9A-Za-z]{1,64}")
_DID = re.compile(r"[0-9]{1,18}-[0-9]{1,18}")

# ---- what the client says -------------------------------------------------------------------------------------------


class Mistake(Refused):
    """What the client sent is no event that can be taken; it is told in the protocol's own codes."""

    code = "protocol"
    fault = "client"

    def __init__(self, error: str, sentence: str, *, param: str | None = None, event_id: str | None = None) -> None:
        self.error, self.param, self.event_id = error, param, event_id
        self.useq: int | None = None
        """the number that the refused event has; it is used up"""
        super().__init__(sentence)


@dataclass(frozen=True, slots=True)
class Audio:
    data: bytes
    event_id: str | None = None
    useq: int | None = None
    kind: ClassVar[str] = "input_audio_buffer.append"


@dataclass(frozen=True, slots=True)
class Commit:
    event_id: str | None = None
    useq: int | None = None
    kind: ClassVar[str] = "input_audio_buffer.commit"


@dataclass(frozen=True, slots=True)
class Clear:
    event_id: str | None = None
    useq: int | None = None
    kind: ClassVar[str] = "input_audio_buffer.clear"


@dataclass(frozen=True, slots=True)
class Event:
    """For the model, as it came (without its number)."""

    kind: str
    body: bytes
    event_id: str | None = None
    useq: int | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """The client has got all up to here. It needs no number, but may have one."""

    did: EntryId
    useq: int | None = None
    kind: ClassVar[str] = RECEIVED


@dataclass(frozen=True, slots=True)
class Played:
    """The client has played all up to here; as `Received`."""

    did: EntryId
    useq: int | None = None
    at: stopping.Played | None = None
    """how much of the item that it names was heard"""
    kind: ClassVar[str] = PLAYED


Numbered = Audio | Commit | Clear | Event
Said = Numbered | Received | Played


class _Append(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="input_audio_buffer.append"):
    """The event that comes fifty times a second, read in one go."""

    audio: str
    event_id: str | None = None
    useq: int | None = None


_append = msgspec.json.Decoder(_Append)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode(text: bytes, *, parley: bool, chunked: bool = False) -> Said:
    """Read one text frame. `parley`: the client has asked for our extension. `chunked`: its audio is no PCM16.

    Raises Mistake.
    """
    if len(text) <= MAX_EVENT_CHARS:
        try:
            append = _append.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            pass
        else:
            if _is_plain(append) or (parley and _is_numbered(append)):
                return _audio(append, chunked=chunked)
    return _decode_slowly(text, parley=parley, chunked=chunked)


def _is_plain(append: _Append) -> bool:
    return append.useq is None and (append.event_id is None or len(append.event_id) <= MAX_EVENT_ID_CHARS)


def _is_numbered(append: _Append) -> bool:
    return append.useq is not None and append.useq > 0 and append.event_id is None


def _audio(append: _Append, *, chunked: bool) -> Audio:
    try:
        data = pybase64.b64decode(append.audio, validate=True)
    except ValueError:
        sentence = "Invalid 'audio': expected standard base64 with padding."
        raise _numbered(Mistake("invalid_value", sentence, param="audio", event_id=append.event_id), append.useq) from None
    if append.useq is not None and len(data) % 2 and not chunked:
        sentence = "Invalid 'audio': a numbered append must hold whole samples of two bytes."
        raise _numbered(Mistake("invalid_value", sentence, param="audio", event_id=append.event_id), append.useq)
    return Audio(data, append.event_id, append.useq)


def decode_chunk(frame: bytes, *, parley: bool) -> Audio:
    """Read one binary frame: a chunk; of a client of our extension its number before it. Raises Mistake."""
    if not parley:
        return Audio(frame)
    if len(frame) < _USEQ.size or not (useq := _USEQ.unpack_from(frame)[0]):
        sentence = "A binary frame must begin with its number: 'useq' as 8 bytes, big-endian, from 1."
        raise Mistake("missing_required_parameter", sentence, param="useq")
    return Audio(frame[_USEQ.size :], useq=useq)


def _numbered(mistake: Mistake, useq: int | None) -> Mistake:
    mistake.useq = useq
    return mistake


def _decode_slowly(text: bytes, *, parley: bool, chunked: bool) -> Said:
    fields = _object(text)
    useq: int | None = None
    event_id: str | None = None
    try:
        useq = _useq(fields) if parley else None
        event_id = _event_id(fields)
        return _read(text, fields, useq, event_id, parley=parley, chunked=chunked)
    except Mistake as mistake:
        mistake.useq, mistake.event_id = useq, event_id
        raise


def _object(text: bytes) -> dict[str, msgspec.Raw]:
    try:
        text.decode()
        return _fields.decode(text)
    except msgspec.ValidationError:
        raise Mistake("invalid_event", "An event must be a JSON object.") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Mistake("invalid_json", f"Failed to parse the frame as JSON: {error}") from None
    except RecursionError:
        raise Mistake("invalid_json", "Failed to parse the frame as JSON: it is nested too deeply.") from None


def _useq(fields: dict[str, msgspec.Raw]) -> int | None:
    raw = fields.pop("useq", None)
    if raw is None:
        return None
    useq = _value(raw)
    if not isinstance(useq, int) or isinstance(useq, bool) or useq < 1:
        raise Mistake("invalid_type", "Invalid type for 'useq': expected an integer above 0.", param="useq")
    return useq


def _event_id(fields: dict[str, msgspec.Raw]) -> str | None:
    event_id = _value(fields.get("event_id"))
    if event_id is None:
        return None
    if not isinstance(event_id, str):
        raise Mistake("invalid_type", "Invalid type for 'event_id': expected a string.", param="event_id")
    if len(event_id) > MAX_EVENT_ID_CHARS:
        sentence = f"Invalid 'event_id': expected at most {MAX_EVENT_ID_CHARS} in length, but got {len(event_id)}."
        raise Mistake("string_above_max_length", sentence, param="event_id")
    return event_id


def _read(
    text: bytes, fields: dict[str, msgspec.Raw], useq: int | None, event_id: str | None, *, parley: bool, chunked: bool
) -> Said:
    kind = _type(fields, parley=parley)
    if kind in (RECEIVED, PLAYED):
        return Received(_did(fields), useq) if kind == RECEIVED else Played(_did(fields), useq, _played_at(fields))
    for name in REQUIRED[kind]:
        if name not in fields:
            raise Mistake("missing_required_parameter", f"Missing required parameter: '{name}'.", param=name)
    match kind:
        case "input_audio_buffer.append":
            _only(fields, ("audio",))
            return _audio(_Append(_text(fields, "audio"), event_id, useq), chunked=chunked)
        case "input_audio_buffer.commit":
            _only(fields, ())
            return Commit(event_id, useq)
        case "input_audio_buffer.clear":
            _only(fields, ())
            return Clear(event_id, useq)
        case _:
            if len(text) > MAX_EVENT_CHARS:
                sentence = f"The event is too large: expected at most {MAX_EVENT_CHARS} bytes, but got {len(text)}."
                raise Mistake("string_above_max_length", sentence)
            return Event(kind, text if useq is None else msgspec.json.encode(fields), event_id, useq)


def _type(fields: dict[str, msgspec.Raw], *, parley: bool) -> str:
    if "type" not in fields:
        raise Mistake("missing_required_parameter", "Missing required parameter: 'type'.", param="type")
    kind = _text(fields, "type")
    known = (*REQUIRED, RECEIVED, PLAYED) if parley else tuple(REQUIRED)
    if kind not in known:
        shown = kind if len(kind) <= 40 else kind[:40] + "…"
        raise Mistake("invalid_event", f"Invalid value: '{shown}'. Supported values are: {_quoted(known)}.", param="type")
    return kind


def _did(fields: dict[str, msgspec.Raw]) -> EntryId:
    if "did" not in fields:
        raise Mistake("missing_required_parameter", "Missing required parameter: 'did'.", param="did")
    if (did := read_did(_text(fields, "did"))) is None:
        raise Mistake("invalid_value", "Invalid 'did': expected the did of an event of this session.", param="did")
    return did


class _PlayedAt(msgspec.Struct):
    item_id: str | None = None
    content_index: int = 0
    played_ms: float = 0


def _played_at(fields: dict[str, msgspec.Raw]) -> stopping.Played | None:
    try:
        at = msgspec.convert({name: msgspec.json.decode(raw) for name, raw in fields.items()}, _PlayedAt)
    except msgspec.ValidationError as error:
        raise Mistake("invalid_type", f"Invalid 'parley.played': {error}.") from None
    return None if at.item_id is None else stopping.Played(at.item_id, at.content_index, int(at.played_ms))


def _only(fields: dict[str, msgspec.Raw], allowed: Iterable[str]) -> None:
    for name in fields:
        if name not in ("type", "event_id", *allowed):
            raise Mistake("unknown_parameter", f"Unknown parameter: '{name}'.", param=name)


def _text(fields: dict[str, msgspec.Raw], name: str) -> str:
    raw = fields[name]
    if len(raw) > MAX_EVENT_CHARS + 2:
        sentence = f"Invalid '{name}': expected at most {MAX_EVENT_CHARS} in length."
        raise Mistake("string_above_max_length", sentence, param=name)
    value = _value(raw)
    if not isinstance(value, str):
        raise Mistake("invalid_type", f"Invalid type for '{name}': expected a string.", param=name)
    return value


def _value(raw: msgspec.Raw | None) -> object:
    value: object = None
    if raw is not None:
        try:
            value = msgspec.json.decode(raw)
        except RecursionError:
            raise Mistake("invalid_json", "Failed to parse the frame as JSON: it is nested too deeply.") from None
    return value


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


# ---- what the client is told ----------------------------------------------------------------------------------------

encode = msgspec.json.encode


def sid_of(session: str) -> str | None:
    """The session that a client names, by its id or ours; None when no session is called so."""
    sid = session.removeprefix("sess_")
    return sid if _SID.fullmatch(sid) else None


def read_did(text: str) -> EntryId | None:
    """The did that a client names; None when it is none."""
    return EntryId.parse(text) if _DID.fullmatch(text) else None


def session_created(event_id: str, session: Object) -> bytes:
    return encode({"type": "session.created", "event_id": event_id, "session": session})


class _AudioDelta(msgspec.Struct, tag_field="type", tag="response.output_audio.delta"):
    event_id: str
    response_id: str
    item_id: str
    output_index: int
    content_index: int
    delta: str


def audio_delta(entry: EntryId, audio: down.Audio, *, is_tail: bool = False) -> bytes:
    """A piece of the answer, with an `event_id` that it has every time it is told.

    `is_tail`: an event of the model's stands at the same place, and has that name.
    """
    delta = pybase64.b64encode_as_string(audio.audio)
    event_id = f"event_{entry.left}_{entry.right}{'_tail' if is_tail else ''}"
    return encode(_AudioDelta(event_id, audio.response, audio.item, audio.output, audio.part, delta))


def error(event_id: str, error: DoorError, *, about: str | None = None) -> bytes:
    """What went wrong, in the protocol's own form. `about`: the event that is to blame, where the error does not know."""
    if isinstance(error, Mistake):
        named = error.event_id or about
        return _error(event_id, "invalid_request_error", error.error, str(error), error.param, named)
    kind = "invalid_request_error" if error.fault == "client" else "server_error"
    return _error(event_id, kind, error.code, str(error), None, about)


def not_admitted(event_id: str, sentence: str, code: str | None) -> bytes:
    """The protocol's own way: no code when there was no key at all."""
    return _error(event_id, "invalid_request_error", code, sentence, None, None)


def failed(event_id: str, failure: down.Failed) -> bytes:
    """What the bridge reports."""
    return _error(event_id, "server_error", failure.code, failure.message, None, None)


def ends(event_id: str, notice: down.Notice) -> bytes:
    """Why the session ends, in the form in which the protocol says `session_expired`."""
    return _error(event_id, "invalid_request_error", notice.code, notice.message, None, None)


def _error(event_id: str, kind: str, code: str | None, message: str, param: str | None, about: str | None) -> bytes:
    detail = {"type": kind, "code": code, "message": message, "param": param, "event_id": about}
    return encode({"type": "error", "event_id": event_id, "error": detail})


def with_did(body: bytes, did: EntryId, *, is_tail: bool = False) -> bytes:
    """The event with its place in the session's stream, which of a tail is that of the event that follows."""
    tail = b'"tail":true,' if is_tail else b""
    return b'{"did":"%b",%b%b' % (bytes(did), tail, body.lstrip().removeprefix(b"{"))
