"""PURE. JSON on the wire: text frames to objects and back, and typed access to fields that were checked before."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
import pybase64

from simulator.errors import InvalidBase64, NotAnObject, NotJson

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Object: TypeAlias = dict[str, Json]

_DEPTH = 64
"""Objects in objects. Tools bring the deepest: JSON schemas. What comes in here must also go out again, unharmed."""

_decoder = msgspec.json.Decoder()
encode = msgspec.json.Encoder().encode
"""One event as the bytes of a text frame."""


def decode(frame: bytes | str) -> Object:
    """The object in a text frame. Raises NotJson or NotAnObject."""
    try:
        value = _decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NotJson(str(error)) from error
    if not isinstance(value, dict):
        raise NotAnObject(value)
    if not _is_flatter_than(_DEPTH, value):
        raise NotJson(f"nested deeper than {_DEPTH} levels")
    return value


def _is_flatter_than(depth: int, value: Json) -> bool:
    if isinstance(value, dict):
        return depth > 0 and all(_is_flatter_than(depth - 1, each) for each in value.values())
    if isinstance(value, list):
        return depth > 0 and all(_is_flatter_than(depth - 1, each) for each in value)
    return True


def audio_bytes(payload: str, param: str) -> bytes:
    """Standard base64 with padding, no other alphabet. Raises InvalidBase64."""
    try:
        return pybase64.b64decode(payload, validate=True)
    except ValueError as error:  # binascii.Error, or a str that is not ASCII
        raise InvalidBase64(param) from error


def audio_text(audio: bytes) -> str:
    return pybase64.b64encode_as_string(audio)


def text(record: Object, key: str) -> str:
    value = record[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is checked to be a string, and is {value!r}")
    return value


def optional_text(record: Object, key: str) -> str | None:
    return None if record.get(key) is None else text(record, key)


def whole(record: Object, key: str) -> int:
    value = record[key]
    if not isinstance(value, int):
        raise TypeError(f"{key} is checked to be an integer, and is {value!r}")
    return value


def member(record: Object, key: str) -> Object:
    """The object under `key`; an empty one when it is absent or null."""
    value = record.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TypeError(f"{key} is checked to be an object, and is {value!r}")
    return value


def members(record: Object, key: str) -> list[Object]:
    """The objects in the array under `key`; none when it is absent or null."""
    value = record.get(key)
    if not isinstance(value, list):
        return []
    return [each for each in value if isinstance(each, dict)]
