"""The heads of CAF and WAV files: what they state is read, and nothing is believed beyond the bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcoder.demux import caf, wav
from transcoder.trim import Span

DESCRIPTION = struct.pack(">d4sIIIII", 48_000.0, b"opus", 0, 0, 960, 1, 0)


def chunk(kind: bytes, content: bytes, size: int | None = None) -> bytes:
    return struct.pack(">4sq", kind, len(content) if size is None else size) + content


def packets(valid: int, priming: int) -> bytes:
    return chunk(b"pakt", struct.pack(">qqii", 9, valid, priming, 0))


def caf_file(*chunks: bytes) -> bytes:
    return b"caff\0\1\0\0" + b"".join(chunks)


def test_the_packet_table_says_what_was_recorded() -> None:
    head = caf.read_head(caf_file(chunk(b"desc", DESCRIPTION), chunk(b"free", bytes(9)), packets(1000, 312)))
    assert head == caf.Head("opus", Span(312, 1312, 48_000))


def test_a_table_behind_sound_of_unknown_length_is_not_looked_for() -> None:
    head = caf.read_head(caf_file(chunk(b"desc", DESCRIPTION), chunk(b"data", packets(1000, 312), size=-1)))
    assert head.span == Span(0, None, 48_000)


@pytest.mark.parametrize("table", [packets(0, 0), packets(-5, 3), packets(100, -1), chunk(b"pakt", b"\0\0")])
def test_a_table_that_makes_no_sense_is_none(table: bytes) -> None:
    assert caf.read_head(caf_file(chunk(b"desc", DESCRIPTION), table)).span == Span(0, None, 48_000)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_head_or_none(data: bytes) -> None:
    for file in (caf_file(data), caf_file(chunk(b"desc", DESCRIPTION), data)):
        try:
            assert caf.read_head(file).span.timescale > 0
        except caf.CafError as error:
            assert "desc" in str(error)  # noqa: PT017 - either is right


def wav_file(tag: int, fact: bytes) -> bytes:
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, 1, 8_000, 8_000, 1, 8)
    return b"RIFF\0\0\0\0WAVE" + layout + b"fact" + struct.pack("<I", len(fact)) + fact + b"data\0\0\0\0"


def test_the_fact_of_a_block_codec_is_its_length() -> None:
    assert wav.recorded(wav_file(2, struct.pack("<I", 777))) == Span(0, 777, 8_000)


@pytest.mark.parametrize("data", [wav_file(1, struct.pack("<I", 777)), wav_file(2, b"\1"), wav_file(2, bytes(4)), b"RIFF"])
def test_otherwise_all_of_it_is(data: bytes) -> None:
    assert wav.recorded(data).stop is None


@given(st.binary(max_size=300))
def test_any_bytes_have_a_span(data: bytes) -> None:
    span = wav.recorded(b"RIFF\0\0\0\0WAVE" + data)
    assert span.start == 0
    assert span.timescale > 0
