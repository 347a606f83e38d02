from __future__ import annotations

import pytest

from simulator.errors import Refused
from simulator.schema import (
    Either,
    Flag,
    ListOf,
    MapOf,
    Nullable,
    Number,
    Record,
    Shape,
    Tagged,
    Text,
    Whole,
)
from simulator.wire import Json

PERSON = Record({"name": Text(max_length=5), "age": Whole(0, 150)}, ("name",))
PET = Tagged("kind", {"cat": Record({"kind": Text(), "lives": Whole(1)})})


@pytest.mark.parametrize(
    ("shape", "value", "code", "param"),
    [
        (PERSON, {"name": "Ann", "shoe": 38}, "unknown_parameter", "it.shoe"),
        (PERSON, {"age": 38}, "missing_required_parameter", "it.name"),
        (PERSON, {"name": "Ann", "age": "38"}, "invalid_type", "it.age"),
        (PERSON, {"name": "Ann", "age": True}, "invalid_type", "it.age"),
        (PERSON, {"name": "Ann", "age": -1}, "integer_below_min_value", "it.age"),
        (PERSON, {"name": "Ann", "age": 151}, "integer_above_max_value", "it.age"),
        (PERSON, {"name": "Annabel"}, "string_above_max_length", "it.name"),
        (PERSON, ["Ann"], "invalid_type", "it"),
        (ListOf(PERSON), [{"name": "Ann"}, {}], "missing_required_parameter", "it[1].name"),
        (ListOf(Flag(), 1, 2), [], "invalid_value", "it"),
        (ListOf(Flag(), 1, 2), [True] * 3, "array_above_max_length", "it"),
        (ListOf(Flag()), [1], "invalid_type", "it[0]"),
        (PET, {"lives": 9}, "missing_required_parameter", "it.kind"),
        (PET, {"kind": "dog"}, "invalid_value", "it.kind"),
        (PET, {"kind": ["cat"]}, "invalid_type", "it.kind"),
        (PET, {"kind": "cat", "lives": 0}, "integer_below_min_value", "it.lives"),
        (Number(0, 1), 1.5, "decimal_above_max_value", "it"),
        (Number(0, 1), None, "invalid_type", "it"),
        (Nullable(Flag()), 1, "invalid_type", "it"),
        (MapOf(Text(), 1, 3), {"a": "b", "c": "d"}, "object_above_max_length", "it"),
        (MapOf(Text(), 1, 3), {"long": "b"}, "string_above_max_length", "it.long"),
        (Either(Text(("inf",)), Whole(1)), "all", "invalid_value", "it"),
        (Either(Text(("inf",)), Whole(1)), 0, "integer_below_min_value", "it"),
    ],
)
def test_refusals(shape: Shape, value: Json, code: str, param: str) -> None:
    """a refusal tells what is wrong, and the path to it."""
    with pytest.raises(Refused) as refused:
        shape.check(value, "it")
    assert (refused.value.code, refused.value.param) == (code, param)


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        (PERSON, {"name": "Ann", "age": 38}),
        (PET, {"kind": "cat"}),
        (Nullable(Flag()), None),
        (Number(0, 1), 1),
        (MapOf(Text(), 1, 3), {"a": "b"}),
        (Either(Text(("inf",)), Whole(1)), "inf"),
    ],
)
def test_what_fits(shape: Shape, value: Json) -> None:
    """what fits passes in silence."""
    shape.check(value, "it")
