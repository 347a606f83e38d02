"""Files without their tags: what the sound needs stays, nothing else does, and no bytes are too bad for it."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.media.make_media import box
from transcoder.demux import lean
from transcoder.demux.boxes import Mp4Error


def caf_chunk(kind: bytes, content: bytes, size: int | None = None) -> bytes:
    return struct.pack(">4sq", kind, len(content) if size is None else size) + content


def riff_chunk(kind: bytes, content: bytes, size: int | None = None) -> bytes:
    return struct.pack("<4sI", kind, len(content) if size is None else size) + content


def test_a_core_audio_file_keeps_what_says_how_it_sounds() -> None:
    head, kept = b"caff\0\1\0\0", caf_chunk(b"desc", bytes(32)) + caf_chunk(b"kuki", b"k") + caf_chunk(b"pakt", bytes(24))
    sound = caf_chunk(b"data", bytes(4) + b"sound", size=-1)
    assert lean.caf(head + kept + caf_chunk(b"info", b"tags") + sound) == head + kept + sound


@pytest.mark.parametrize(("size", "kept"), [(4, b"abcd"), (0, b"abcdLIST"), (0xFFFFFFFF, b"abcdLIST")])
def test_a_wav_keeps_its_sound_as_far_as_it_goes(size: int, kept: bytes) -> None:
    head = b"RIFF\0\0\0\0WAVE" + riff_chunk(b"fmt ", bytes(16))
    file = head + riff_chunk(b"LIST", b"INFOodd") + b"\0" + riff_chunk(b"data", b"abcdLIST", size)
    assert lean.wav(file) == head + riff_chunk(b"data", kept, size)


def test_an_aiff_keeps_its_common_chunk_and_its_sound() -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">4sI", kind, len(content)) + content

    head, kept = b"FORM\0\0\0\0AIFF", chunk(b"COMM", bytes(18)) + chunk(b"SSND", bytes(8))
    assert lean.aiff(head + chunk(b"ID3 ", b"tags") + kept + chunk(b"NAME", b"ab")) == head + kept


def test_a_flac_keeps_its_first_block() -> None:
    info, tags, picture = b"\0\0\0\x22" + bytes(34), b"\4\0\0\4tags", b"\x86\0\0\2ab"
    assert lean.flac(b"fLaC" + info + tags + picture + b"\xff\xf8") == b"fLaC\x80" + info[1:] + b"\xff\xf8"
    last = b"\x80\0\0\x22" + bytes(34)
    assert lean.flac(b"fLaC" + last + b"\xff\xf8") == b"fLaC" + last + b"\xff\xf8"


def test_an_mp4s_tags_are_renamed_wherever_they_are_and_nothing_moves() -> None:
    def file(tags: bytes) -> bytes:
        track = box(b"trak", box(b"mdia", box(b"minf", box(tags, b"3"))), box(tags, b"4"))
        wide = struct.pack(">I4sQ", 1, tags, 18) + b"ab"
        return (
            box(b"ftyp", b"M4A ") + wide + box(b"moov", box(b"mvhd"), box(tags, box(b"ilst")), track) + box(b"mdat", b"udta")
        )

    assert lean.mp4(file(b"udta")) == file(b"free")
    assert lean.mp4(file(b"mdhd")) == file(b"mdhd")


def test_boxes_beyond_number_are_an_error_on_any_level() -> None:
    deep = box(b"moov", box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", box(b"free") * 70_000)))))
    with pytest.raises(Mp4Error, match="too many"):
        lean.mp4(deep)


@given(st.sampled_from([lean.caf, lean.wav, lean.aiff, lean.flac, lean.mp4]), st.binary(max_size=300), st.booleans())
def test_any_bytes_get_no_longer(make_lean: Callable[[bytes], bytes], data: bytes, with_head: bool) -> None:
    file = (b"fLaC" if make_lean is lean.flac else b"") + data if with_head else data
    assert len(make_lean(file)) <= max(4, len(file))
