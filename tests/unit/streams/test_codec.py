"""Any message survives the codec, and what is no message is refused by name."""

from __future__ import annotations

import contextlib
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import codec, down, pcm, turns, up
from streams.errors import MalformedEntry, UnsupportedVersion
from streams.messages import Message, Text

UNIONS = {"up": up.UpMessage, "pcm": pcm.PcmMessage, "down": down.DownMessage, "turns": turns.TurnsMessage}

words = st.text(st.characters(codec="utf-8"), max_size=40)


def values(annotation: Any) -> st.SearchStrategy[Any]:
    if annotation is msgspec.Raw:
        return st.dictionaries(words, words, max_size=3).map(lambda d: msgspec.Raw(msgspec.json.encode(d)))
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation))
    if annotation == tuple[turns.HistoryLine, ...]:
        line = st.builds(turns.HistoryLine, role=st.sampled_from(["user", "assistant"]), content=words)
        return st.lists(line, max_size=3).map(tuple)
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        fields = msgspec.structs.fields(annotation)
        return st.builds(annotation, **{field.name: values(field.type) for field in fields})
    if annotation == tuple[str, ...]:
        return st.lists(words, max_size=3).map(tuple)
    if get_origin(annotation) is list:
        return st.lists(values(*get_args(annotation)), max_size=3)
    args = [arg for arg in get_args(annotation) if arg is not type(None)]
    if len(args) == 1 and type(None) in get_args(annotation):
        return st.none() | values(args[0])
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: words,
        int: st.integers(-(2**62), 2**62),
        bool: st.booleans(),
        bytes: st.binary(max_size=100),
    }
    return simple[annotation]


def messages(union: Any) -> st.SearchStrategy[Message]:
    return st.one_of(
        *(
            st.builds(cls, **{field.name: values(field.type) for field in msgspec.structs.fields(cls)})
            for cls in get_args(union)
        )
    )


@pytest.mark.parametrize("name", UNIONS)
@given(data=st.data())
def test_any_message_survives(name: str, data: st.DataObject) -> None:
    """Through the fields of an entry and back, for every message of every stream."""
    message = data.draw(messages(UNIONS[name]))
    fields = codec.encode(message)
    again = codec.Decoder[Message](UNIONS[name]).decode(dict(zip(fields[::2], fields[1::2], strict=True)))
    assert codec.encode(again) == fields
    assert type(again) is type(message)


@pytest.mark.parametrize("name", UNIONS)
def test_no_two_messages_of_a_stream_share_a_kind(name: str) -> None:
    """The kind tells them apart."""
    kinds = [cls.__struct_config__.tag for cls in get_args(UNIONS[name])]
    assert len(set(kinds)) == len(kinds)


def test_an_entry_is_legible() -> None:
    """Names and text as they are, numbers in decimal, what is not there left out."""
    entry = codec.encode(turns.AssistantSaid(response="r", item="i", text="Grüß Gott", heard_ms=1500))
    assert entry == [
        *(b"kind", b"assistant", b"response", b"r", b"item", b"i"),
        *(b"text", "Grüß Gott".encode(), b"heard_ms", b"1500"),
    ]
    assert b"heard_ms" not in codec.encode(turns.AssistantSaid(response="r", item="i", text="t"))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {b"text": b"no kind"},
        {b"kind": b"text"},
        {b"kind": b"text", b"text": b"\xff\xfe"},
        {b"kind": b"commit", b"respond": b"yes"},
        {b"kind": b"file", b"data": b"", b"arrived_ms": b"soon"},
    ],
)
def test_what_does_not_read_is_malformed(fields: dict[bytes, bytes]) -> None:
    """A missing kind or field, bytes that are no text, a number that is none."""
    with pytest.raises(MalformedEntry):
        up.decoder.decode(fields)


@pytest.mark.parametrize("fields", [{b"kind": b"hologram"}, {b"kind": b"text", b"text": b"x", b"v": b"2"}])
def test_what_a_newer_parley_wrote_is_refused_as_that(fields: dict[bytes, bytes]) -> None:
    """An unknown kind and a later version name the deployment's mistake."""
    with pytest.raises(UnsupportedVersion):
        up.decoder.decode(fields)


def test_unknown_fields_are_passed_over() -> None:
    """A newer Parley may add some."""
    assert up.decoder.decode({b"kind": b"text", b"text": b"hi", b"mood": b"good"}) == Text("hi")


@given(st.dictionaries(st.sampled_from([b"kind", b"text", b"v", b"x"]), st.binary(max_size=8)))
def test_garbage_is_malformed_and_nothing_else(fields: dict[bytes, bytes]) -> None:
    """No other exception gets out."""
    with contextlib.suppress(MalformedEntry):
        up.decoder.decode(fields)
