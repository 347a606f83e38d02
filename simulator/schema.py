"""PURE. Shapes of JSON, strict: a key nobody knows is refused, and the refusal names the dotted path to it.

A shape has one method, `check(value, path)`; it returns nothing or raises the Refused that says what is wrong and where.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from simulator.errors import (
    AboveMaximum,
    BelowMinimum,
    InvalidType,
    InvalidValue,
    MissingParameter,
    TooLong,
    UnknownParameter,
)
from simulator.wire import Json, Object

_LARGEST = 2**53
"""Beyond this not every integer is a number of JSON, and arithmetic would have to be careful."""


class Shape(Protocol):
    def check(self, value: Json, path: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Anything:
    def check(self, value: Json, path: str) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Text:
    choices: tuple[str, ...] = ()
    """the only strings allowed; empty for any"""
    max_length: int | None = None

    def check(self, value: Json, path: str) -> None:
        if not isinstance(value, str):
            raise InvalidType(path, f"one of {', '.join(self.choices)}" if self.choices else "a string", value)
        if self.choices and value not in self.choices:
            raise InvalidValue.choice(path, value, self.choices)
        if self.max_length is not None and len(value) > self.max_length:
            raise TooLong(path, "string", len(value), self.max_length)


@dataclass(frozen=True, slots=True)
class Flag:
    def check(self, value: Json, path: str) -> None:
        if not isinstance(value, bool):
            raise InvalidType(path, "a boolean", value)


@dataclass(frozen=True, slots=True)
class Whole:
    low: int | None = None
    high: int | None = None

    def check(self, value: Json, path: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidType(path, "an integer", value)
        _check_range(value, self.low, self.high, path)


@dataclass(frozen=True, slots=True)
class Number:
    low: float | None = None
    high: float | None = None

    def check(self, value: Json, path: str) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise InvalidType(path, "a decimal", value)
        _check_range(value, self.low, self.high, path)


@dataclass(frozen=True, slots=True)
class Nullable:
    shape: Shape

    def check(self, value: Json, path: str) -> None:
        if value is not None:
            self.shape.check(value, path)


@dataclass(frozen=True, slots=True)
class ListOf:
    shape: Shape
    min_length: int = 0
    max_length: int | None = None

    def check(self, value: Json, path: str) -> None:
        if not isinstance(value, list):
            raise InvalidType(path, "an array", value)
        if len(value) < self.min_length:
            raise InvalidValue(f"Invalid '{path}': expected at least {self.min_length} in length.", path)
        if self.max_length is not None and len(value) > self.max_length:
            raise TooLong(path, "array", len(value), self.max_length)
        for index, each in enumerate(value):
            self.shape.check(each, f"{path}[{index}]")


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object whose keys the client chooses."""

    shape: Shape
    max_keys: int
    max_key_length: int

    def check(self, value: Json, path: str) -> None:
        record = _object(value, path)
        if len(record) > self.max_keys:
            raise TooLong(path, "object", len(record), self.max_keys)
        for key, each in record.items():
            if len(key) > self.max_key_length:
                raise TooLong(join(path, key), "string", len(key), self.max_key_length)
            self.shape.check(each, join(path, key))


@dataclass(frozen=True, slots=True)
class Record:
    """An object with these keys and no other."""

    fields: Mapping[str, Shape]
    required: tuple[str, ...] = ()

    def check(self, value: Json, path: str) -> None:
        record = _object(value, path)
        for key in record:
            if key not in self.fields:
                raise UnknownParameter(join(path, key))
        for key in self.required:
            if key not in record:
                raise MissingParameter(join(path, key))
        for key, each in record.items():
            self.fields[key].check(each, join(path, key))


@dataclass(frozen=True, slots=True)
class Tagged:
    """An object whose shape hangs on the string under one key."""

    tag: str
    shapes: Mapping[str, Shape]

    def check(self, value: Json, path: str) -> None:
        record = _object(value, path)
        if self.tag not in record:
            raise MissingParameter(join(path, self.tag))
        name = record[self.tag]
        Text(tuple(self.shapes)).check(name, join(path, self.tag))
        self.shapes[str(name)].check(record, path)


@dataclass(frozen=True, slots=True)
class Either:
    """One shape for strings, another for all else."""

    string: Shape
    other: Shape

    def check(self, value: Json, path: str) -> None:
        (self.string if isinstance(value, str) else self.other).check(value, path)


def join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _object(value: Json, path: str) -> Object:
    if not isinstance(value, dict):
        raise InvalidType(path, "an object", value)
    return value


def _check_range(value: float, low: float | None, high: float | None, path: str) -> None:
    if abs(value) > _LARGEST:
        raise InvalidValue(f"Invalid '{path}': the number is out of range.", path)
    if low is not None and value < low:
        raise BelowMinimum(path, value, low)
    if high is not None and value > high:
        raise AboveMaximum(path, value, high)
