"""Message ↔ Redis fields, one pair of functions for every message.

Plain field names, so that `redis-cli` shows what is going on: text as text, integers in decimal, booleans as 1 and 0, audio
as raw bytes, structures as JSON text, None by leaving the field out. The field `kind` says which message it is.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Generic, TypeVar, Union, get_args, get_origin

import msgspec

from streams.errors import MalformedEntry, UnsupportedVersion
from streams.messages import Message

M = TypeVar("M", bound=Message)

VERSION = 1
"""Of the entries' layout. Not written while it is 1; an entry with a higher `v` is refused by name."""

Fields = list[bytes]
"""field, value, field, value … as XADD takes them"""

_Read = Callable[[bytes], Any]
_Write = Callable[[Any], bytes]


def _read_bool(value: bytes) -> bool:
    if value not in (b"0", b"1"):
        raise ValueError(f"neither 0 nor 1: {value[:20]!r}")
    return value == b"1"


def _converters(annotation: Any) -> tuple[_Write, _Read]:
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = (arg for arg in get_args(annotation) if arg is not type(None))
    if annotation is bytes:
        return bytes, bytes
    if annotation is msgspec.Raw:
        return bytes, msgspec.Raw
    if annotation is str:
        return str.encode, bytes.decode
    if annotation is bool:
        return (lambda value: b"1" if value else b"0"), _read_bool
    if annotation is int:
        return (lambda value: b"%d" % value), int
    decoder = msgspec.json.Decoder(annotation)
    return msgspec.json.encode, decoder.decode


class _Layout(Generic[M]):
    """How one class of messages is laid out in fields."""

    def __init__(self, cls: type[M]) -> None:
        self.cls = cls
        self.kind = str(cls.__struct_config__.tag).encode()
        self.fields: list[tuple[str, bytes, _Write]] = []
        self.readers: dict[bytes, tuple[str, _Read]] = {}
        for field in msgspec.structs.fields(cls):
            write, read = _converters(field.type)
            self.fields.append((field.name, field.encode_name.encode(), write))
            self.readers[field.encode_name.encode()] = (field.name, read)

    def encode(self, message: Message) -> Fields:
        fields = [b"kind", self.kind]
        for attribute, name, write in self.fields:
            value = getattr(message, attribute)
            if value is not None:
                fields += (name, write(value))
        return fields

    def decode(self, fields: dict[bytes, bytes]) -> M:
        values: dict[str, Any] = {}
        for name, value in fields.items():
            if (reader := self.readers.get(name)) is not None:
                attribute, read = reader
                try:
                    values[attribute] = read(value)
                except (ValueError, msgspec.MsgspecError) as error:
                    raise MalformedEntry(f"{self.kind.decode()}.{attribute}: {error}") from None
        try:
            return self.cls(**values)
        except TypeError as error:
            raise MalformedEntry(f"{self.kind.decode()}: {error}") from None


@cache
def _layout(cls: type[M]) -> _Layout[M]:
    return _Layout(cls)


def encode(message: Message) -> Fields:
    """The fields of a message, as XADD takes them."""
    return _layout(type(message)).encode(message)


AT = b"at_us"
SINCE = b"since_us"


def stamp(now_us: int, since_us: int | None = None) -> Fields:
    """The fields that say when an entry was given to be stored, in microseconds since 1970; they belong to no message.

    `since_us`: when that was given to be stored which it was made of, where it is another process's work.
    """
    return [AT, b"%d" % now_us] if since_us is None else [AT, b"%d" % now_us, SINCE, b"%d" % since_us]


def stamps(fields: dict[bytes, bytes]) -> tuple[int, int]:
    """When an entry was given to be stored, and what it was made of, in microseconds since 1970; 0: it does not say."""
    try:
        at = int(fields.get(AT, 0))
        return at, int(fields[SINCE]) if SINCE in fields else at
    except ValueError:
        return 0, 0


class Decoder(Generic[M]):
    """Reads the entries of one stream: a closed union of messages."""

    def __init__(self, union: Any) -> None:
        classes: Iterable[type[M]] = get_args(union) or (union,)
        self._layouts: dict[bytes, _Layout[M]] = {_layout(cls).kind: _layout(cls) for cls in classes}

    def decode(self, fields: dict[bytes, bytes]) -> M:
        """The message that was encoded. Raises MalformedEntry, or UnsupportedVersion for what a newer Parley wrote.

        Fields that it does not know are passed over: a newer Parley may add some.
        """
        kind = fields.get(b"kind")
        if kind is None:
            raise MalformedEntry("an entry without a kind")
        version = fields.get(b"v")
        if version is not None and version != b"%d" % VERSION:
            raise UnsupportedVersion(f"{kind.decode(errors='replace')}: version {version!r}, this Parley reads {VERSION}")
        layout = self._layouts.get(kind)
        if layout is None:
            raise UnsupportedVersion(f"unknown kind {kind[:40]!r}")
        return layout.decode(fields)
