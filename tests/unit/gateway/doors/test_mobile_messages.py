"""The JSON of the mobile door."""

from __future__ import annotations

import contextlib
import json

import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.doors import mobile_messages as wire
from gateway.errors import EmptyAudio, InvalidAudio, InvalidMessage, Refused, TooLarge, UnknownFormat, UnknownType
from gateway.output import Output


def test_what_the_app_says_is_read() -> None:
    assert wire.decode(b'{"type": "ping"}') == wire.Ping()
    assert wire.decode(b'{"audio": "AAAA", "type": "audio", "more": [1, {}]}') == wire.Audio("AAAA")
    assert wire.decode(b'{"type": "config", "astrologer_id": "luna"}') == wire.Config("luna")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (wire.Pong(), '{"type":"pong"}'),
        (wire.audio_response(b"\x00\x01"), '{"type":"audio_response","audio":"AAE="}'),
        (wire.TextResponse("é"), '{"type":"text_response","text":"é"}'),
        (wire.ConfigAck(None, "m"), '{"type":"config_ack","astrologer_id":null,"message":"m"}'),
        (wire.Error("e"), '{"type":"error","error":"e"}'),
    ],
)
def test_what_the_app_is_told_is_written(message: wire.ToClient, text: str) -> None:
    assert wire.encode(message).decode() == text
    assert wire.kind(message) == json.loads(text)["type"]


def test_an_unknown_type_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownType, match=r'"pung".*audio, config, ping'):
        wire.decode(b'{"type": "pung"}')


def test_a_wrong_field_is_named_with_what_is_right() -> None:
    with pytest.raises(InvalidMessage, match=r"\$\.astrologer_id.*Send \{"):
        wire.decode(b'{"type": "config", "astrologer_id": 7}')


@given(st.binary() | st.text().map(str.encode))
def test_anything_is_read_or_refused(text: bytes) -> None:
    with contextlib.suppress(Refused):
        wire.decode(text)


@given(st.binary(min_size=1, max_size=64))
def test_audio_is_what_was_encoded(data: bytes) -> None:
    assert wire.audio_bytes(pybase64.b64encode_as_string(data), max_bytes=64) == data
    assert wire.audio_bytes(pybase64.b64encode_as_string(data), max_bytes=len(data)) == data
    with pytest.raises(TooLarge):
        wire.audio_bytes(pybase64.b64encode_as_string(data), max_bytes=len(data) - 1)


@pytest.mark.parametrize("base64", ["A", "AAA", "AA=A", "AAAA\n", " AAAA", "data:audio/wav;base64,AAAA", "é===", "_-__"])
def test_only_base64_is_base64(base64: str) -> None:
    with pytest.raises(InvalidAudio):
        wire.audio_bytes(base64, max_bytes=100)


def test_no_audio_is_empty() -> None:
    with pytest.raises(EmptyAudio):
        wire.audio_bytes("", max_bytes=100)


def test_the_address_is_read() -> None:
    asked = wire.read_query({"astrologer_id": "luna", "audio_format": "wav", "input_format": "pcm16", "token": "x"})
    assert asked == wire.Asked("luna", Output("wav"), "pcm16")
    assert wire.read_query({"astrologer_id": "", "audio_format": ""}) == wire.Asked()
    assert wire.read_query({"input_format": "stream"}).input_format == "stream"


def test_what_the_address_asks_in_vain_stays_at_its_default() -> None:
    asked = wire.read_query({"astrologer_id": "x" * 257, "audio_format": "ogg", "input_format": "wav"})
    assert (asked.persona, asked.output.audio_format, asked.input_format) == (None, "pcm16", "auto")
    assert [type(error) for error in asked.errors] == [InvalidMessage, UnknownFormat, UnknownFormat]
