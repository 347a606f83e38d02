"""The JSON of the openai door: read as the model reads it, and refused in the model's own codes."""

from __future__ import annotations

from typing import Any

import msgspec
import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.doors import openai_messages as wire
from gateway.doors.openai_shapes import session_told, session_updated
from gateway.errors import Busy
from simulator.options import Options
from streams import down
from streams.ids import EntryId
from streams.stopping import Played
from tests.contract.doors.openai_stage import OFFICIAL
from tests.unit.simulator.talking import Talk


def frame(kind: str, **fields: object) -> bytes:
    return msgspec.json.encode({"type": kind, **fields})


def mistake(text: bytes, *, parley: bool = False) -> wire.Mistake:
    with pytest.raises(wire.Mistake) as raised:
        wire.decode(text, parley=parley)
    return raised.value


APPEND = "input_audio_buffer.append"

MISTAKES = [
    b"{",
    b"\xff",
    b"[1]",
    b'"text"',
    b"null",
    b"{}",
    b'{"type": 7}',
    b'{"type": "no.such.type", "event_id": "mine"}',
    b'{"type": "output_audio_buffer.clear"}',
    frame(APPEND, event_id="mine"),
    frame(APPEND, audio=7, event_id="mine"),
    frame(APPEND, audio="no base64", event_id="mine"),
    frame(APPEND, audio="AAA", event_id="mine"),
    frame(APPEND, audio="", event_id=5),
    frame(APPEND, audio="", bogus=1, event_id="mine"),
    frame(APPEND, audio="", useq=1),
    frame("input_audio_buffer.commit", bogus=1, event_id="mine"),
    frame("input_audio_buffer.clear", useq=1),
    frame("session.update", event_id="mine"),
    frame("conversation.item.create", event_id="mine"),
    frame("conversation.item.retrieve"),
    frame("conversation.item.delete"),
    frame("conversation.item.truncate", item_id="i", content_index=0),
]


@pytest.mark.parametrize("text", MISTAKES, ids=lambda text: text[:60].decode(errors="replace"))
def test_a_mistake_is_told_as_the_model_tells_it(text: bytes) -> None:
    """The same code, the same parameter, the same name of the event, as the simulator, which knows the API's own."""
    (told,) = Talk(Options()).say_raw(text)
    theirs: Any = told["error"]
    error = mistake(text)
    assert (error.error, error.param, error.event_id) == (theirs["code"], theirs["param"], theirs["event_id"])
    OFFICIAL.validate_json(wire.error("event_1", error), strict=True)


@given(data=st.binary(max_size=64), name=st.none() | st.text(st.characters(codec="utf-8"), max_size=20))
def test_an_append_is_its_bytes(data: bytes, name: str | None) -> None:
    text = frame(APPEND, audio=pybase64.b64encode_as_string(data), event_id=name)
    assert wire.decode(text, parley=False) == wire.Audio(data, name)


@given(st.binary(max_size=200))
def test_any_frame_is_read_or_refused(text: bytes) -> None:
    for parley in (False, True):
        try:
            wire.decode(text, parley=parley)
        except wire.Mistake as error:
            OFFICIAL.validate_json(wire.error("event_1", error), strict=True)


def test_other_events_go_on_to_the_byte() -> None:
    """What is inside is for the model to judge."""
    text = b'{ "type":"response.create", "response": {"bogus": 1e3} }'
    assert wire.decode(text, parley=False) == wire.Event("response.create", text)


def test_a_number_is_ours_and_does_not_go_on() -> None:
    said = wire.decode(frame("response.cancel", useq=3, event_id="e"), parley=True)
    assert isinstance(said, wire.Event)
    assert (said.useq, said.event_id) == (3, "e")
    assert msgspec.json.decode(said.body) == {"type": "response.cancel", "event_id": "e"}


def test_a_refused_event_tells_its_number() -> None:
    """It has used it up."""
    assert mistake(frame("no.such", useq=4), parley=True).useq == 4
    assert mistake(frame(APPEND, audio="!", useq=5), parley=True).useq == 5
    assert mistake(frame(APPEND, audio="AA==", useq=6), parley=True).useq == 6, "half a sample"
    assert mistake(frame(APPEND, audio="", useq=0), parley=True).useq is None


@pytest.mark.parametrize("useq", [0, -1, 1.5, "1", True])
def test_a_number_is_an_integer_above_0(useq: object) -> None:
    assert mistake(frame("response.create", useq=useq), parley=True).param == "useq"


def test_what_is_too_large_is_refused() -> None:
    large = "A" * (wire.MAX_EVENT_CHARS + 4)
    assert (error := mistake(frame(APPEND, audio=large))).error == "string_above_max_length"
    assert error.param == "audio"
    assert mistake(frame("conversation.item.create", item={"text": large})).error == "string_above_max_length"


def test_a_name_that_is_too_long_is_not_repeated() -> None:
    error = mistake(frame(APPEND, audio="", event_id="x" * 513))
    assert (error.error, error.param, error.event_id) == ("string_above_max_length", "event_id", None)


def test_nothing_is_nested_so_deeply_that_it_breaks() -> None:
    deep = b'{"type":"session.update","session":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert mistake(deep).error == "invalid_json"


def test_what_was_received_and_played() -> None:
    assert wire.decode(frame("parley.received", did="7-8"), parley=True) == wire.Received(EntryId(7, 8))
    played = frame("parley.played", did="7-8", item_id="i", played_ms=20)
    assert wire.decode(played, parley=True) == wire.Played(EntryId(7, 8), at=Played("i", 0, 20))
    assert wire.decode(frame("parley.played", did="7-8"), parley=True) == wire.Played(EntryId(7, 8))
    assert mistake(frame("parley.played", did="7-8", item_id="i", played_ms="x"), parley=True).error == "invalid_type"
    assert mistake(frame("parley.received", did="x"), parley=True).param == "did"
    assert mistake(frame("parley.received"), parley=True).error == "missing_required_parameter"
    assert mistake(frame("parley.received", did="7-8")).error == "invalid_event", "not without the extension"


def test_what_is_told_is_of_the_official_types() -> None:
    created = wire.session_created("event_1", session_told("a" * 32, model="m", transcription_model="t"))
    OFFICIAL.validate_json(created, strict=True)
    assert msgspec.json.decode(created)["session"]["id"] == "sess_" + "a" * 32
    delta = wire.audio_delta(EntryId(7, 8), down.Audio("r", 'i"', 1, 0, b"\x01\x02", 2))
    OFFICIAL.validate_json(delta, strict=True)
    OFFICIAL.validate_json(wire.failed("event_1", down.Failed("code", "sentence")), strict=True)
    OFFICIAL.validate_json(wire.ends("event_1", down.Notice("usage_limit", "sentence", final=True)), strict=True)
    OFFICIAL.validate_json(wire.error("event_1", Busy(), about="mine"), strict=True)
    with_did = msgspec.json.decode(wire.with_did(b" " + delta, EntryId(7, 8)))
    assert with_did == {"did": "7-8", **msgspec.json.decode(delta)}


def test_an_updated_session_is_ours() -> None:
    body = b'{"type":"session.updated","event_id":"e","session":{"type":"realtime","id":"sess_x","expires_at":1,"tools":[]}}'
    session = msgspec.json.decode(session_updated(body, "abc"))["session"]
    assert session == {"type": "realtime", "id": "sess_abc", "tools": []}
    assert wire.sid_of(session["id"]) == wire.sid_of("abc") == "abc"


def test_a_binary_frame_is_a_chunk() -> None:
    """Of a client that numbers, behind its number."""
    assert wire.decode_chunk(b"\x1a\x45", parley=False) == wire.Audio(b"\x1a\x45")
    assert wire.decode_chunk((7).to_bytes(8, "big") + b"\x1a", parley=True) == wire.Audio(b"\x1a", useq=7)


@pytest.mark.parametrize("frame", [b"", b"1234567", bytes(8), bytes(9)])
def test_a_chunk_of_a_client_that_numbers_has_a_number(frame: bytes) -> None:
    with pytest.raises(wire.Mistake, match="8 bytes"):
        wire.decode_chunk(frame, parley=True)


def test_a_numbered_chunk_may_have_any_length() -> None:
    text = b'{"type":"input_audio_buffer.append","audio":"AQ==","useq":1}'
    assert wire.decode(text, parley=True, chunked=True) == wire.Audio(b"\1", useq=1)
    with pytest.raises(wire.Mistake, match="whole samples"):
        wire.decode(text, parley=True)
