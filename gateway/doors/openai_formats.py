"""PURE. Audio formats in a session's `audio` object: what a client of the openai door may name there, and what is meant.

| `audio.input.format` | what an append holds |
|---|---|
| `{"type":"audio/pcm"}`, `"rate":24000` | PCM16, mono |
| … `"rate":8000` to `96000`, `"channels":1` to `8` | the same at that rate |
| `{"type":"audio/pcmu"}`, `{"type":"audio/pcma"}` | G.711 at 8 kHz |
| `{"type":"audio/opus"}` | one Opus packet |
| `{"type":"audio/webm"}`, `ogg`, `mp4`, `aac`, `mpeg` | the next bytes of a recording; which of these it is is seen |

| `audio.output.format` | how answers are heard |
|---|---|
| `{"type":"audio/pcm"}`, `"rate":8000`, `16000`, `24000`, `48000` | PCM16 |
| `{"type":"audio/pcmu"}`, `{"type":"audio/pcma"}` | G.711 at 8 kHz |
| `{"type":"audio/opus"}`, `{"type":"audio/aac"}`, with `"bitrate"`, `"frame_ms"` | packets: `gateway.doors.openai_audio` |

The model is asked for none of these: it hears and says PCM16 at 24 kHz.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from gateway.doors.openai_audio import Heard, read_query
from gateway.doors.openai_messages import Event, Mistake
from gateway.doors.openai_shapes import Object, merged
from streams.sources import MAX_CHANNELS, MAX_RATE, MIN_RATE

PCM = "audio/pcm"
PLAIN = "pcm16"
"""The source of what needs no transcoder."""

_SOURCES = {
    "audio/pcmu": "pcm_mulaw 8000 1",
    "audio/pcma": "pcm_alaw 8000 1",
    "audio/opus": "opus",
    **dict.fromkeys(("audio/webm", "audio/ogg", "audio/mp4", "audio/aac", "audio/mpeg"), "stream"),
}
_OUTPUTS = (PCM, "audio/pcmu", "audio/pcma", "audio/opus", "audio/aac")
_OUTPUT_RATES = (8_000, 16_000, 24_000, 48_000)
_object = msgspec.json.Decoder(dict[str, Any])
_INPUT = "session.audio.input.format"
_OUTPUT = "session.audio.output.format"


@dataclass(frozen=True, slots=True)
class Formats:
    """What a client has named; None: what its session was opened with."""

    input: Object | None = None
    output: Object | None = None

    def __bool__(self) -> bool:
        return self.input is not None or self.output is not None

    @property
    def source(self) -> str | None:
        """Of what it sends, `streams.sources`; PLAIN for what needs no transcoder. None: as the session was opened."""
        return None if self.input is None else _source(self.input)

    @property
    def heard(self) -> Heard | None:
        """How it hears answers. None: as its address says."""
        return None if self.output is None else _heard(self.output)

    def shown(self, session: Object) -> Object:
        """A session as its client is told of it."""
        said = {"input": self.input, "output": self.output}
        return merged(session, {"audio": {way: {"format": value} for way, value in said.items() if value is not None}})


NONE = Formats()


def asked_by(event: Event) -> tuple[Event, Formats]:
    """The event as it goes to the model, and the formats that it names. Raises Mistake."""
    if event.kind not in ("session.update", "response.create"):
        return event, NONE
    try:
        fields = _object.decode(event.body)
        if event.kind == "response.create":
            check_response(fields.get("response"))
            return event, NONE
        session = fields.get("session")
        rest, formats = taken_out(session) if isinstance(session, dict) else (None, NONE)
    except Mistake as mistake:
        mistake.useq, mistake.event_id = event.useq, event.event_id
        raise
    if not formats:
        return event, NONE
    return replace(event, body=msgspec.json.encode({**fields, "session": rest})), formats


def taken_out(session: Object) -> tuple[Object, Formats]:
    """A session without the formats that it names, and these. Raises Mistake."""
    audio = session.get("audio")
    if not isinstance(audio, dict):
        return session, Formats()
    rest, found = dict(audio), dict[str, Any]()
    for way in ("input", "output"):
        settings = audio.get(way)
        if isinstance(settings, dict) and isinstance(settings.get("format"), dict):
            found[way] = settings["format"]
            rest[way] = {name: value for name, value in settings.items() if name != "format"}
    formats = Formats(**found)
    _ = formats.source, formats.heard  # or it is a mistake
    return ({**session, "audio": rest} if found else session), formats


def check_response(response: object) -> None:
    """A response is heard as its session is. Raises Mistake."""
    value: Any = response
    for name in ("audio", "output", "format"):
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, dict) and (value.get("type") != PCM or value.get("rate", 24_000) != 24_000):
        sentence = "A response is heard in its session's format: leave 'response.audio.output.format' out."
        raise Mistake("invalid_value", sentence, param="response.audio.output.format")


def named_as(heard: Heard) -> Object:
    """What an address asks for, as a client would name it in its session."""
    if heard.codec in ("opus", "aac"):
        asked = {"bitrate": heard.coding.bit_rate, "frame_ms": heard.coding.frame_ms}
        return {"type": f"audio/{heard.codec}", **{name: value for name, value in asked.items() if value is not None}}
    return {"type": PCM, "rate": 24_000 if heard.codec is None else int(heard.codec.rpartition("_")[2])}


def in_up(source: str) -> str:
    """The same, for a session that has gone over to `up`."""
    return "pcm_s16le 24000 1" if source == PLAIN else source


def _source(format_: Object) -> str:
    kind = _kind(format_, _INPUT, (PCM, *_SOURCES))
    if kind != PCM:
        _only(format_, _INPUT, ("type",))
        return _SOURCES[kind]
    _only(format_, _INPUT, ("type", "rate", "channels"))
    rate = _number(format_, _INPUT, "rate", 24_000, range(MIN_RATE, MAX_RATE + 1))
    channels = _number(format_, _INPUT, "channels", 1, range(1, MAX_CHANNELS + 1))
    return PLAIN if (rate, channels) == (24_000, 1) else f"pcm_s16le {rate} {channels}"


def _heard(format_: Object) -> Heard:
    kind = _kind(format_, _OUTPUT, _OUTPUTS)
    match kind:
        case "audio/pcm":
            _only(format_, _OUTPUT, ("type", "rate"))
            rate = _number(format_, _OUTPUT, "rate", 24_000, _OUTPUT_RATES)
            return Heard() if rate == 24_000 else read_query({"audio": f"pcm16_{rate}"})
        case "audio/pcmu" | "audio/pcma":
            _only(format_, _OUTPUT, ("type",))
            return Heard("pcm16_8000", law="pcmu" if kind == "audio/pcmu" else "pcma")
    _only(format_, _OUTPUT, ("type", "bitrate", "frame_ms"))
    asked = {name: f"{value}" for name, value in format_.items() if name != "type"}
    heard = read_query({"audio": kind.removeprefix("audio/"), **asked})
    if heard.mistakes:
        mistake = heard.mistakes[0]
        raise Mistake("invalid_value", f"{mistake}", param=f"{_OUTPUT}.{mistake.param}")
    return heard


def _kind(format_: Object, path: str, known: tuple[str, ...]) -> str:
    kind = format_.get("type")
    if not isinstance(kind, str) or kind not in known:
        shown = msgspec.json.encode(kind).decode()[:40]
        values = ", ".join(f"'{each}'" for each in known)
        raise Mistake("invalid_value", f"Invalid value: {shown}. Supported values are: {values}.", param=f"{path}.type")
    return kind


def _only(format_: Mapping[str, object], path: str, allowed: tuple[str, ...]) -> None:
    for name in format_:
        if name not in allowed:
            raise Mistake("unknown_parameter", f"Unknown parameter: '{path}.{name}'.", param=f"{path}.{name}")


def _number(format_: Object, path: str, name: str, default: int, allowed: range | tuple[int, ...]) -> int:
    value = format_.get(name, default)
    if isinstance(value, int) and not isinstance(value, bool) and value in allowed:
        return value
    shown = f"{allowed[0]} to {allowed[-1]}" if isinstance(allowed, range) else ", ".join(map(str, allowed))
    raise Mistake("invalid_value", f"Invalid '{path}.{name}': supported values are: {shown}.", param=f"{path}.{name}")
