"""What a client may name as formats, and what is meant."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.doors.openai_audio import Heard, read_query
from gateway.doors.openai_formats import NONE, Formats, asked_by, named_as
from gateway.doors.openai_messages import Event, Mistake
from streams.coding import Coding
from streams.sources import is_chunked, read_chunked


def event(kind: str = "session.update", **fields: object) -> Event:
    return Event(kind, msgspec.json.encode({"type": kind, **fields}), event_id="e", useq=7)


def update(**formats: Any) -> Event:
    audio = {way: {"format": value, "turn_detection": None} for way, value in formats.items()}
    return event(session={"type": "realtime", "instructions": "x", "audio": audio})


@pytest.mark.parametrize(
    ("named", "source"),
    [
        ({"type": "audio/pcm"}, "pcm16"),
        ({"type": "audio/pcm", "rate": 24_000}, "pcm16"),
        ({"type": "audio/pcm", "rate": 44_100, "channels": 2}, "pcm_s16le 44100 2"),
        ({"type": "audio/pcmu"}, "pcm_mulaw 8000 1"),
        ({"type": "audio/pcma"}, "pcm_alaw 8000 1"),
        ({"type": "audio/opus"}, "opus"),
        ({"type": "audio/webm"}, "stream"),
        ({"type": "audio/mp4"}, "stream"),
    ],
)
def test_what_is_sent(named: Any, source: str) -> None:
    """Each is a source that there is."""
    assert Formats(input=named).source == source
    assert source == "pcm16" or (is_chunked(source) and read_chunked(source) == source)


@pytest.mark.parametrize(
    ("named", "heard"),
    [
        ({"type": "audio/pcm"}, Heard()),
        ({"type": "audio/pcm", "rate": 16_000}, Heard("pcm16_16000")),
        ({"type": "audio/pcmu"}, Heard("pcm16_8000", law="pcmu")),
        ({"type": "audio/opus", "bitrate": 16_000, "frame_ms": 60}, Heard("opus", Coding(16_000, 60))),
        ({"type": "audio/aac"}, Heard("aac")),
    ],
)
def test_what_is_heard(named: Any, heard: Heard) -> None:
    assert Formats(output=named).heard == heard
    assert Formats().heard is None


@pytest.mark.parametrize("address", ["", "pcm16_8000", "pcm16_48000", "opus", "aac"])
def test_what_an_address_asks_for_can_be_named(address: str) -> None:
    heard = read_query({"audio": address, "bitrate": "32000"} if address in ("opus", "aac") else {"audio": address})
    assert Formats(output=named_as(heard)).heard == heard


def test_formats_are_not_the_models_business() -> None:
    """The rest of the event is."""
    said, formats = asked_by(update(input={"type": "audio/opus"}, output={"type": "audio/pcmu"}))
    assert formats == Formats({"type": "audio/opus"}, {"type": "audio/pcmu"})
    session = msgspec.json.decode(said.body)["session"]
    assert session == {
        "type": "realtime",
        "instructions": "x",
        "audio": {"input": {"turn_detection": None}, "output": {"turn_detection": None}},
    }
    assert (said.event_id, said.useq) == ("e", 7)
    plain = event(session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    assert asked_by(plain) == (plain, NONE)
    for odd in (event(session=1), event(session={"audio": 1}), event("conversation.item.create", item={})):
        assert asked_by(odd) == (odd, NONE), "what is wrong with it, the model says"


@pytest.mark.parametrize(
    ("asked", "code", "param"),
    [
        (update(input={"type": "audio/x"}), "invalid_value", "session.audio.input.format.type"),
        (update(input={"rate": 8_000}), "invalid_value", "session.audio.input.format.type"),
        (update(input={"type": "audio/pcm", "rate": 4_000}), "invalid_value", "session.audio.input.format.rate"),
        (update(input={"type": "audio/pcm", "rate": True}), "invalid_value", "session.audio.input.format.rate"),
        (update(input={"type": "audio/pcmu", "rate": 8_000}), "unknown_parameter", "session.audio.input.format.rate"),
        (update(output={"type": "audio/webm"}), "invalid_value", "session.audio.output.format.type"),
        (update(output={"type": "audio/pcm", "rate": 44_100}), "invalid_value", "session.audio.output.format.rate"),
        (update(output={"type": "audio/opus", "bitrate": 1}), "invalid_value", "session.audio.output.format.bitrate"),
        (update(output={"type": "audio/opus", "bitrate": "x"}), "invalid_value", "session.audio.output.format.bitrate"),
        (
            event("response.create", response={"audio": {"output": {"format": {"type": "audio/pcmu"}}}}),
            "invalid_value",
            "response.audio.output.format",
        ),
    ],
)
def test_what_cannot_be_named_is_told(asked: Event, code: str, param: str) -> None:
    """And is about that event."""
    with pytest.raises(Mistake) as raised:
        asked_by(asked)
    mistake = raised.value
    assert (mistake.error, mistake.param, mistake.event_id, mistake.useq) == (code, param, "e", 7)


def test_a_response_may_name_what_the_model_says_anyway() -> None:
    asked = event("response.create", response={"audio": {"output": {"format": {"type": "audio/pcm", "rate": 24_000}}}})
    assert asked_by(asked) == (asked, NONE)
