"""PURE. The iOS door's wire format: requests as they come, and the JSON of the answers."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

import msgspec

from gateway.errors import EmptyUpload, InvalidRequest
from gateway.records import AS_IT_IS, Heard, InputFormat, ListenFormat, Record, Wanted
from streams.coding import FRAMES_MS, MAX_BIT_RATE, MIN_BIT_RATE, Coding
from streams.pcm import BYTES_PER_SAMPLE

SampleRate = Literal[16_000, 24_000, 48_000]
SAMPLE_RATES: tuple[int, ...] = get_args(SampleRate)

MAX_OBJECTIVE_CHARS = 4_000
MAX_FILE_IDS = 100
MAX_FILE_ID_CHARS = 256

MAX_CREATE_BYTES = 256 << 10
"""Of the request that creates a session: more than the above can come to."""

MAX_CHUNK_BYTES = 256 << 10
"""Of one upload: more than five seconds. The field's chunks have 20 to 100 ms."""

TIMESTAMP = struct.Struct("<q")
"""Before the PCM of clients that say so: signed milliseconds since 1970."""


CONTENT_TYPES: dict[ListenFormat, str] = {"wav": "audio/wav", "aac": "audio/aac", "opus": "audio/ogg"}

_CAN_BE_HEARD = (
    f"audio_format is {' or '.join(get_args(ListenFormat))}, bitrate {MIN_BIT_RATE} to {MAX_BIT_RATE}, "
    f"frame_ms {' or '.join(map(str, FRAMES_MS))}."
)

_ACCEPTED: dict[str, ListenFormat | None] = {
    "audio/aac": "aac",
    "audio/aacp": "aac",
    "audio/ogg": "opus",
    "audio/opus": "opus",
    **dict.fromkeys(("audio/wav", "audio/x-wav", "audio/wave"), "wav"),
    **dict.fromkeys(("audio/*", "*/*"), None),
}
"""None: whatever it is."""


class _Create(Heard, frozen=True):
    objective: Annotated[str, msgspec.Meta(max_length=MAX_OBJECTIVE_CHARS)] | None = None
    file_ids: (
        Annotated[list[Annotated[str, msgspec.Meta(max_length=MAX_FILE_ID_CHARS)]], msgspec.Meta(max_length=MAX_FILE_IDS)]
        | None
    ) = msgspec.field(default=None, name="fileIds")
    sample_rate: SampleRate | None = msgspec.field(default=None, name="sampleRate")
    packet_timestamps: bool | None = msgspec.field(default=None, name="packetTimestamps")
    input_format: InputFormat | None = None
    record: bool | None = None


_create_decoder = msgspec.json.Decoder(_Create)


_QUALITY = re.compile(r";\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a query asks for, on top of what the session was created with."""

    sample_rate: int | None = None
    packet_timestamps: bool | None = None
    heard: Heard = AS_IT_IS


NOTHING = Asked()


def read_create(body: bytes) -> Wanted:
    """What a client wants to have created. Raises InvalidRequest."""
    try:
        asked = _create_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise InvalidRequest(f"The session cannot be created: {why}.") from None
    return Wanted(
        objective=asked.objective or "",
        file_ids=tuple(asked.file_ids or ()),
        sample_rate=asked.sample_rate or SAMPLE_RATES[0],
        packet_timestamps=bool(asked.packet_timestamps),
        heard=Heard(asked.audio_format, asked.bitrate, asked.frame_ms),
        input_format=asked.input_format or "pcm16",
        record=asked.record,
    )


def read_query(query: Mapping[str, str]) -> Asked:
    """Raises InvalidRequest."""
    if not query:
        return NOTHING
    rate, stamped = query.get("sampleRate"), query.get("packetTimestamps")
    if rate is not None and rate not in map(str, SAMPLE_RATES):
        raise InvalidRequest(f"sampleRate is {' or '.join(map(str, SAMPLE_RATES))}.")
    if stamped is not None and stamped.lower() not in ("true", "1", "false", "0"):
        raise InvalidRequest("packetTimestamps is true or false.")
    return Asked(
        sample_rate=None if rate is None else int(rate),
        packet_timestamps=None if stamped is None else stamped.lower() in ("true", "1"),
        heard=_heard(query),
    )


def _heard(query: Mapping[str, str]) -> Heard:
    said = {name: query[name] for name in Heard.__struct_fields__ if name in query}
    try:
        return msgspec.convert(said, Heard, strict=False) if said else AS_IT_IS
    except msgspec.ValidationError:
        raise InvalidRequest(_CAN_BE_HEARD) from None


def to_hear(record: Record, asked: Asked, accept: str) -> tuple[ListenFormat, Coding]:
    """What a stream is to be: as the query says, else as `Accept` likes best, else as the session was created, else WAV."""
    kinds = [(_quality(kind), _media_type(kind)) for kind in accept.split(",") if _media_type(kind) in _ACCEPTED]
    quality, best = max(kinds, key=lambda one: one[0], default=(0.0, ""))  # of equals the first
    liked = Heard(_ACCEPTED[best]) if quality else AS_IT_IS
    heard = asked.heard.over(liked.over(record.heard))
    return heard.audio_format or "wav", heard.coding


def _media_type(kind: str) -> str:
    return kind.partition(";")[0].strip().lower()


def _quality(kind: str) -> float:
    """Of a kind in `Accept`; 1 where it says none that can be read."""
    found = _QUALITY.search(kind)
    return float(found[1]) if found else 1.0


def read_chunk(body: bytes, *, stamped: bool, input_format: InputFormat = "pcm16") -> tuple[int | None, bytes]:
    """When it was sent (ms since 1970), and its whole samples; half a one at the end is dropped. Raises EmptyUpload."""
    begin = TIMESTAMP.size if stamped else 0
    audio = body[begin:]
    if input_format == "pcm16":
        audio = audio[: len(audio) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE]
    if not audio:
        raise EmptyUpload
    sent_ms = int(TIMESTAMP.unpack_from(body)[0]) if stamped else None
    return sent_ms, audio


def received(body: bytes) -> bytes:
    """The answer to an upload."""
    return b'{"status":"ok","bytes_received":%d}' % len(body)


def created(record: Record) -> bytes:
    """A session as its creator is told of it."""
    return msgspec.json.encode(_created(record))


def described(record: Record) -> bytes:
    """A session with all that is known of it."""
    about = {
        "sampleRate": record.sample_rate,
        "packetTimestamps": record.packet_timestamps,
        "input_format": record.input_format,
        "latencyMs": record.latency,
    }
    return msgspec.json.encode(_created(record) | about | msgspec.to_builtins(record.heard))


def listed(records: list[Record]) -> bytes:
    """Sessions as their user is told of them."""
    lines = [
        {"id": record.id, "objective": record.objective, "createdAt": _time(record.created_ms), "status": record.status}
        for record in records
    ]
    return msgspec.json.encode({"sessions": lines})


def _created(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "objective": record.objective,
        "fileIds": record.file_ids,
        "status": record.status,
        "createdAt": _time(record.created_ms),
    }


def _time(ms: int) -> str:
    """ISO 8601 in whole seconds: with fractions the usual parser of the app's platform reads none of it."""
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
