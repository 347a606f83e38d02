"""The JSON of the mobile door's sibling."""

from __future__ import annotations

import msgspec
import pybase64
import pytest

from gateway.doors import mobile_web_messages as wire
from gateway.errors import InvalidAudio, InvalidMessage, TooLarge, UnknownType

CHUNK = b"\x1a\x45\xdf\xa3"


def said(**fields: object) -> bytes:
    return msgspec.json.encode(fields)


def test_what_a_page_says() -> None:
    assert wire.decode(said(type="ping")) == wire.Ping()
    assert wire.decode(said(type="audio", data="AAAA", more=1)) == wire.Audio("AAAA")


@pytest.mark.parametrize("data", [pybase64.b64encode_as_string(CHUNK), "data:audio/webm;codecs=opus;base64,GkXfow=="])
def test_a_chunk_may_be_a_data_url(data: str) -> None:
    assert wire.chunk(data, max_bytes=10) == CHUNK


def test_an_empty_chunk_is_nothing() -> None:
    assert wire.chunk("", max_bytes=10) == wire.chunk("data:audio/webm;base64,", max_bytes=10) == b""


@pytest.mark.parametrize("data", ["%", "GkXfo", "Gk Xf"])
def test_what_is_no_base64_is_refused(data: str) -> None:
    with pytest.raises(InvalidAudio):
        wire.chunk(data, max_bytes=10)


def test_what_is_too_large_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(TooLarge):
        wire.chunk("A" * 1_000, max_bytes=100)
    assert len(wire.chunk(pybase64.b64encode_as_string(bytes(100)), max_bytes=100)) == 100


@pytest.mark.parametrize("text", [b"{", b"[]", b"1", b"\xff", b"{}", b'{"type": 1}', b'{"type": "audio"}', b"[" * 5_000])
def test_what_is_no_message_is_explained(text: bytes) -> None:
    with pytest.raises((InvalidMessage, UnknownType), match=r"JSON|type|Send"):
        wire.decode(text)


def test_an_answer_is_as_the_page_expects_it() -> None:
    assert msgspec.json.decode(wire.encode(wire.audio_response(b"\1\2"))) == {
        "type": "audio_response",
        "audio": "AQI=",
        "text": "",
        "mime_type": "audio/pcm",
    }
    assert msgspec.json.decode(wire.encode(wire.Error("Say it again."))) == {"type": "error", "message": "Say it again."}
