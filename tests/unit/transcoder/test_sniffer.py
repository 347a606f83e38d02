"""What bytes are, whatever they are called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcoder.sniffer import Kind, begins_a_recording, sniff

EBML = b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08\x42\x82\x84"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", Kind.NOTHING),
        (b"\x00\x00\x00\x1cftypM4A \x00\x00\x02\x00", Kind.MP4),
        (b"\x00\x00\x00\x18ftyp3gp4", Kind.MP4),
        (b"\x00\x00\x00\x08wide\x00\x00\x00\x08mdat", Kind.MP4),
        (b"\x00\x00\x02\x00moov", Kind.MP4),
        (b"\x00\x00\x00\x18ftypheic", Kind.HEIF),
        (EBML + b"webm", Kind.WEBM),
        (EBML + b"matroska", Kind.MATROSKA),
        (b"OggS\x00\x02" + bytes(22) + b"OpusHead", Kind.OGG_OPUS),
        (b"OggS\x00\x02" + bytes(22) + b"\x01vorbis", Kind.OGG_VORBIS),
        (b"OggS\x00\x02" + bytes(22) + b"Speex   ", Kind.OGG),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", Kind.WAV),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", Kind.WEBP),
        (b"RIFF\x24\x00\x00\x00AVI LIST", Kind.AVI),
        (b"fLaC\x00\x00\x00\x22", Kind.FLAC),
        (b"ID3\x04\x00\x00", Kind.MP3),
        (b"\xff\xfb\x90\x64\x00", Kind.MP3),
        (b"\xff\xf1\x50\x80\x02", Kind.ADTS),
        (b"\x56\xe0\x20\x00", Kind.LATM),
        (b"#!AMR\n\x3c", Kind.AMR),
        (b"#!AMR-WB\n", Kind.AMR),
        (b"caff\x00\x01\x00\x00", Kind.CAF),
        (b"FORM\x00\x00\x00\x00AIFF", Kind.AIFF),
        (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), Kind.ASF),
        ((b"\x47" + bytes(187)) * 3, Kind.MPEG_TS),
        (b"#EXTM3U\n#EXT-X-VERSION:3\nfile:///etc/passwd\n", Kind.PLAYLIST),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", Kind.CONCAT),
        (b"file '/etc/passwd'\n", Kind.CONCAT),
        (b"\xef\xbb\xbf<!DOCTYPE html><html>", Kind.HTML),
        (b"<?xml version='1.0'?><SmoothStreamingMedia/>", Kind.XML),
        (b'  {"error": "no such file"}', Kind.JSON),
        ("Grüße aus Köln, wie geht es dir?".encode(), Kind.TEXT),
        (("ü" * 300).encode(), Kind.TEXT),
        (b"PK\x03\x04\x14\x00", Kind.ZIP),
        (b"\x1f\x8b\x08\x00", Kind.GZIP),
        (b"%PDF-1.7\n", Kind.PDF),
        (b"\x89PNG\r\n\x1a\n", Kind.PNG),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", Kind.JPEG),
        (b"\x7fELF\x02\x01\x01", Kind.PROGRAM),
        (bytes(1000), Kind.ZEROS),
        (b"\x00\x01\xff\xfe\x80\x99" * 20, Kind.UNKNOWN),
    ],
)
def test_it_is_recognised(data: bytes, kind: Kind) -> None:
    assert sniff(data) is kind


def test_media_is_told_from_the_rest() -> None:
    assert Kind.WEBM.is_media
    assert not Kind.PLAYLIST.is_media
    assert not Kind.HEIF.is_media


@pytest.mark.parametrize(
    ("chunk", "begins"),
    [
        (b"\x1a\x45\xdf\xa3\x9f", True),
        (b"\0\0\0\x1cftypiso5", True),
        (b"OggS\0\2", True),
        (b"OggS\0\0", False),
        (b"OggS", False),
        (b"ID3\4", True),
        (b"\0\0\0\x1cmoof", False),
        (b"\x1f\x43\xb6\x75", False),
        (b"", False),
    ],
)
def test_only_a_beginning_begins_a_recording(chunk: bytes, begins: bool) -> None:
    assert begins_a_recording(chunk) is begins


@given(st.binary(max_size=600))
def test_any_bytes_are_something(data: bytes) -> None:
    """sniff answers for any bytes, and for a longer file as for its start."""
    assert sniff(data) is sniff(data)
    if len(data) >= 512:
        assert sniff(data) is sniff(data + bytes(1000))
