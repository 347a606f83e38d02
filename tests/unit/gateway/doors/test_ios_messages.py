"""What the iOS app writes and reads."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.doors import ios_messages as wire
from gateway.errors import EmptyUpload, InvalidRequest
from gateway.records import Heard, Record, Wanted
from streams.coding import Coding

RECORD = Record("0f" * 16, "ann", "sell", ("f",), "running", 1_767_323_045_678, 16_000, False, False, None)


def test_what_is_not_said_has_a_default() -> None:
    assert wire.read_create(b"{}") == Wanted("", (), 16_000, packet_timestamps=False)
    assert wire.read_create(b'{"objective":null,"fileIds":null}') == Wanted("", (), 16_000, packet_timestamps=False)


def test_what_newer_builds_say() -> None:
    body = b'{"objective":"sell","fileIds":["f"],"sampleRate":24000,"packetTimestamps":true,"unknown":1}'
    assert wire.read_create(body) == Wanted("sell", ("f",), 24_000, packet_timestamps=True)
    heard = wire.read_create(b'{"audio_format":"opus","bitrate":16000,"frame_ms":60}').heard
    assert heard == Heard("opus", 16_000, 60)


@pytest.mark.parametrize("field", ['"bitrate":7999', '"frame_ms":30', '"audio_format":"mp3"', '"bitrate":"16000"'])
def test_what_cannot_be_heard_is_refused(field: str) -> None:
    with pytest.raises(InvalidRequest, match=field.split('"')[1]):
        wire.read_create(b"{" + field.encode() + b"}")
    name, value = field.replace('"', "").split(":")
    if value != "16000":
        with pytest.raises(InvalidRequest, match=name):
            wire.read_query({name: value})


@given(st.binary(max_size=300))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    with suppress(InvalidRequest):
        assert wire.read_create(body).sample_rate in wire.SAMPLE_RATES


@pytest.mark.parametrize("body", [b'{"x":' + b"[" * 100_000, b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"])
def test_a_body_that_is_nested_too_deeply_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        wire.read_create(body)


@given(body=st.binary(max_size=40), stamped=st.booleans())
def test_a_chunk_is_whole_samples_behind_its_timestamp(body: bytes, stamped: bool) -> None:
    begin = 8 if stamped else 0
    if len(body) < begin + 2:
        with pytest.raises(EmptyUpload, match=r"^empty audio data$"):
            wire.read_chunk(body, stamped=stamped)
        return
    sent_ms, audio = wire.read_chunk(body, stamped=stamped)
    assert sent_ms == (struct.unpack("<q", body[:8])[0] if stamped else None)
    assert body[begin:].startswith(audio)
    assert len(body) - begin - len(audio) == len(body) % 2


def test_a_chunk_of_a_recording_has_no_samples_yet() -> None:
    assert wire.read_create(b'{"input_format":"stream"}').input_format == "stream"
    assert wire.read_chunk(b"x", stamped=False, input_format="stream") == (None, b"x")
    assert wire.read_chunk(bytes(8) + b"xyz", stamped=True, input_format="stream") == (0, b"xyz")
    with pytest.raises(EmptyUpload):
        wire.read_chunk(bytes(8), stamped=True, input_format="stream")


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ({}, wire.NOTHING),
        ({"token": "x"}, wire.NOTHING),
        ({"sampleRate": "24000"}, wire.Asked(24_000, None)),
        ({"packetTimestamps": "TRUE"}, wire.Asked(None, True)),
        ({"sampleRate": "16000", "packetTimestamps": "0"}, wire.Asked(16_000, False)),
        ({"audio_format": "aac", "bitrate": "48000", "frame_ms": "40"}, wire.Asked(heard=Heard("aac", 48_000, 40))),
    ],
)
def test_the_query_may_say_more(query: dict[str, str], asked: wire.Asked) -> None:
    assert wire.read_query(query) == asked


def test_sessions_are_told_as_the_app_reads_them() -> None:
    created = {
        "id": RECORD.id,
        "objective": "sell",
        "fileIds": ["f"],
        "status": "running",
        "createdAt": "2026-01-02T03:04:05Z",
    }
    assert json.loads(wire.created(RECORD)) == created
    told = json.loads(wire.described(replace(RECORD, latency={"packets": 1})))
    assert told == created | {
        "sampleRate": 16_000,
        "packetTimestamps": False,
        "input_format": "pcm16",
        "latencyMs": {"packets": 1},
    }
    coded = json.loads(wire.described(replace(RECORD, heard=Heard("opus", frame_ms=40))))
    assert (coded["audio_format"], coded["frame_ms"], "bitrate" in coded) == ("opus", 40, False)
    del created["fileIds"]
    assert json.loads(wire.listed([RECORD])) == {"sessions": [created]}


@pytest.mark.parametrize(
    ("accept", "listened"),
    [
        ("", "wav"),
        ("*/*", "wav"),
        ("text/html", "wav"),
        ("audio/aac", "aac"),
        ("Audio/AAC; q=0.5, */*;q=0.1", "aac"),
        ("audio/ogg", "opus"),
        ("audio/ogg;q=0.4, audio/aac;q=0.8, audio/wav;q=0.6", "aac"),
        ("audio/wav, audio/aac", "wav"),
        ("audio/aac;q=0", "wav"),
        ("audio/aac;q=x,,;", "aac"),
    ],
)
def test_a_stream_is_what_the_client_likes_best(accept: str, listened: str) -> None:
    """And what its address says above all."""
    assert wire.to_hear(RECORD, wire.NOTHING, accept)[0] == listened
    for named in ("wav", "aac", "opus"):
        assert wire.to_hear(RECORD, wire.read_query({"audio_format": named}), accept)[0] == named


def test_what_the_client_leaves_open_is_as_the_session_was_created() -> None:
    record = replace(RECORD, heard=Heard("opus", 16_000, 60))
    for accept in ("", "*/*", "audio/*;q=0.8, text/html"):
        assert wire.to_hear(record, wire.NOTHING, accept) == ("opus", Coding(16_000, 60))
    assert wire.to_hear(record, wire.NOTHING, "audio/aac") == ("aac", Coding(16_000, 60))
    assert wire.to_hear(record, wire.read_query({"frame_ms": "20"}), "audio/wav") == ("wav", Coding(16_000, 20))
