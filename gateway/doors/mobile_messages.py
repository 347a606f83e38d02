"""PURE. The JSON of the mobile door: what the app may say, what it is told, and a helpful sentence for everything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

import msgspec
import pybase64

from gateway.errors import EmptyAudio, InvalidAudio, InvalidMessage, TooLarge, UnknownFormat
from gateway.output import DEFAULT, AudioFormat, BitRate, FrameMs, Output, OutputRate, read_output, read_paced
from gateway.typed_json import Reader

InputFormat = Literal["auto", "pcm16", "stream"]
"""What the client's audio is: a whole recording that is looked at, PCM16 24 kHz mono without a header, or, all along the
connection, the next bytes of one recording."""

PersonaId = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class FromClient(msgspec.Struct, frozen=True, tag_field="type"):
    """The base of what the app may say."""


class Audio(FromClient, frozen=True, tag="audio"):
    audio: str
    """base64"""


class Config(FromClient, frozen=True, tag="config"):
    astrologer_id: PersonaId | None = None
    audio_format: AudioFormat | None = None
    input_format: InputFormat | None = None
    output_rate: OutputRate | None = None
    bitrate: BitRate | None = None
    frame_ms: FrameMs | None = None


class Ping(FromClient, frozen=True, tag="ping"):
    pass


class ToClient(msgspec.Struct, frozen=True, tag_field="type"):
    """The base of what the app is told."""


class AudioResponse(ToClient, frozen=True, tag="audio_response"):
    audio: str
    """base64"""


class TextResponse(ToClient, frozen=True, tag="text_response"):
    text: str


class ConfigAck(ToClient, frozen=True, tag="config_ack"):
    astrologer_id: str | None
    message: str


class Pong(ToClient, frozen=True, tag="pong"):
    pass


class Interrupted(ToClient, frozen=True, tag="interrupted"):
    """The rest of this item is void: said to apps only that have asked for it (`paced=0`)."""

    item: str
    at_ms: int


class Error(ToClient, frozen=True, tag="error"):
    error: str


_LOOKS = {
    "audio": '{"type": "audio", "audio": "<a whole recording, base64>"}',
    "config": (
        '{"type": "config", "astrologer_id": "<id>", "audio_format": "pcm16" or "wav" or "opus" or "aac", '
        '"input_format": "auto" or "pcm16", "output_rate": 8000 or 16000 or 24000 or 48000, "bitrate": 8000 to 128000, '
        '"frame_ms": 20 or 40 or 60}, each of them optional'
    ),
    "ping": '{"type": "ping"}',
}
_reader: Reader[Audio | Config | Ping] = Reader(msgspec.json.Decoder(Audio | Config | Ping), _LOOKS, example="ping")


def encode(message: ToClient) -> bytes:
    return msgspec.json.encode(message)


def kind(message: FromClient | ToClient) -> str:
    """Its `type`."""
    return str(message.__struct_config__.tag)


def decode(text: bytes) -> Audio | Config | Ping:
    """Read one text frame. Raises InvalidMessage or UnknownType, which say what to send instead."""
    return _reader.read(text)


def audio_bytes(base64: str, *, max_bytes: int) -> bytes:
    """What an `audio` message carries. Raises InvalidAudio, EmptyAudio or TooLarge (before it decodes)."""
    if len(base64) // 4 * 3 - base64.count("=", -2) > max_bytes:
        raise TooLarge(max_bytes)
    try:
        data = pybase64.b64decode(base64, validate=True)
    except ValueError:
        raise InvalidAudio from None
    if not data:
        raise EmptyAudio
    return data


def audio_response(audio: bytes) -> AudioResponse:
    return AudioResponse(pybase64.b64encode_as_string(audio))


class Asked(msgspec.Struct):
    """What the address asks for."""

    persona: str | None = None
    output: Output = DEFAULT
    input_format: InputFormat = "auto"
    paced: bool = True
    errors: tuple[UnknownFormat | InvalidMessage, ...] = ()
    """what was asked for in vain, for the client to be told"""


def read_query(query: Mapping[str, str]) -> Asked:
    """What cannot be read is left at its default and named in `errors`: a client must not be locked out by it."""
    asked, errors = Asked(), list[UnknownFormat | InvalidMessage]()
    persona = query.get("astrologer_id") or None
    try:
        asked.persona = msgspec.convert(persona, PersonaId | None)
    except msgspec.ValidationError as error:
        errors.append(InvalidMessage(f"The astrologer_id of the address is not right: {error}. It is left out."))
    if named := query.get("input_format"):
        if named in get_args(InputFormat):
            asked.input_format = msgspec.convert(named, InputFormat)
        else:
            errors.append(UnknownFormat("input_format", named, get_args(InputFormat), asked.input_format))
    asked.output, unread = read_output(query)
    asked.paced = read_paced(query, default=True)
    asked.errors = (*errors, *unread)
    return asked
