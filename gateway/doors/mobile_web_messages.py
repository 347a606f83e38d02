"""PURE. The JSON of the mobile door's sibling for browsers: chunks of a recording up, PCM16, Opus or AAC down."""

from __future__ import annotations

import msgspec
import pybase64

from gateway.errors import InvalidAudio, TooLarge
from gateway.output import DEFAULT, Output
from gateway.typed_json import Reader

MIME_TYPE = "audio/pcm"
"""PCM16 24 kHz mono."""


def mime_type(output: Output) -> str:
    """What the audio of an answer is called; at another rate than 24 kHz with the rate."""
    match output.audio_format:
        case "opus":
            return "audio/ogg"
        case "aac":
            return "audio/aac"
        case _:
            return MIME_TYPE if output.output_rate == DEFAULT.output_rate else f"{MIME_TYPE};rate={output.output_rate}"


class FromClient(msgspec.Struct, frozen=True, tag_field="type"):
    """The base of what the page may say."""


class Audio(FromClient, frozen=True, tag="audio"):
    data: str
    """base64 of the next bytes of a MediaRecorder's recording"""


class Ping(FromClient, frozen=True, tag="ping"):
    pass


class ToClient(msgspec.Struct, frozen=True, tag_field="type"):
    """The base of what the page is told."""


class AudioResponse(ToClient, frozen=True, tag="audio_response"):
    audio: str
    """base64"""
    text: str = ""
    mime_type: str = MIME_TYPE


class Pong(ToClient, frozen=True, tag="pong"):
    pass


class Interrupted(ToClient, frozen=True, tag="interrupted"):
    """The rest of this item is void: said to pages only that have asked for it (`paced=0`)."""

    item: str
    at_ms: int


class Error(ToClient, frozen=True, tag="error"):
    message: str


_LOOKS = {"audio": '{"type": "audio", "data": "<the next bytes of the recording, base64>"}', "ping": '{"type": "ping"}'}
_reader: Reader[Audio | Ping] = Reader(msgspec.json.Decoder(Audio | Ping), _LOOKS, example="ping")


def encode(message: ToClient) -> bytes:
    return msgspec.json.encode(message)


def kind(message: FromClient | ToClient) -> str:
    """Its `type`."""
    return str(message.__struct_config__.tag)


def decode(text: bytes) -> Audio | Ping:
    """Read one text frame. Raises InvalidMessage or UnknownType, which say what to send instead."""
    return _reader.read(text)


def chunk(data: str, *, max_bytes: int) -> bytes:
    """What an `audio` message carries; nothing, where the recorder had nothing. Raises InvalidAudio, TooLarge.

    A page that reads its blobs as data URLs may leave their beginning on.
    """
    base64 = data.rpartition(",")[2] if data.startswith("data:") else data
    if len(base64) // 4 * 3 > max_bytes + 2:
        raise TooLarge(max_bytes)
    try:
        return pybase64.b64decode(base64, validate=True)
    except ValueError:
        raise InvalidAudio from None


def audio_response(audio: bytes, output: Output = DEFAULT) -> AudioResponse:
    return AudioResponse(pybase64.b64encode_as_string(audio), mime_type=mime_type(output))
