"""The index of an MP4 file, read by hand."""

from __future__ import annotations

import contextlib
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.media.make_media import box
from transcoder.demux.mp4 import MAX_EDITS, MAX_TRACKS, Edit, Movie, Mp4Error, Track, read_movie, recorded
from transcoder.trim import Span


def mdhd(timescale: int = 44_100, duration: int = 45_124, *, wide: bool = False) -> bytes:
    if wide:
        return box(b"mdhd", struct.pack(">IQQIQI", 1 << 24, 0, 0, timescale, duration, 0))
    return box(b"mdhd", struct.pack(">IIIIII", 0, 0, 0, timescale, duration, 0))


def elst(*edits: tuple[int, int], wide: bool = False) -> bytes:
    lines = [struct.pack(">QqI" if wide else ">IiI", *edit, 1 << 16) for edit in edits]
    return box(b"edts", box(b"elst", struct.pack(">II", wide << 24, len(edits)), *lines))


def trak(*, header: bytes = mdhd(), edits: bytes = b"", handler: bytes = b"soun", codec: bytes = b"mp4a") -> bytes:
    table = box(b"stbl", box(b"stsd", struct.pack(">II", 0, 1), box(codec, bytes(28))))
    media = box(b"mdia", header, box(b"hdlr", bytes(8), handler, bytes(13)), box(b"minf", table))
    return box(b"trak", edits, media)


def movie(*tracks: bytes, timescale: int = 1000) -> bytes:
    header = box(b"mvhd", struct.pack(">IIIII", 0, 0, 0, timescale, 1000), bytes(80))
    return box(b"ftyp", b"M4A ") + box(b"moov", header, *tracks) + box(b"mdat", bytes(100))


def test_a_phone_recording() -> None:
    """One audio track, primed by 1024 samples."""
    found = read_movie(movie(trak(edits=elst((1000, 1024)))))
    track = Track("soun", "mp4a", 44_100, 45_124, (Edit(1000, 1024),))
    assert found == Movie("M4A ", 1000, (track,), fragmented=False)
    assert recorded(found, track) == Span(1024, 45_124, 44_100)


def test_wide_fields() -> None:
    """Version 1 boxes count with 64 bits, and a box may have a 64-bit size."""
    found = read_movie(movie(trak(header=mdhd(duration=2**33, wide=True), edits=elst((2**33, 2112), wide=True))))
    assert found.tracks[0].duration == 2**33
    assert found.tracks[0].edits == (Edit(2**33, 2112),)
    moov = movie(trak())[12:]
    size, kind = struct.unpack_from(">I4s", moov)
    large = struct.pack(">I4sQ", 1, kind, size + 8) + moov[8:]
    assert read_movie(large).tracks[0].codec == "mp4a"


def test_without_an_edit_list_all_was_recorded() -> None:
    """As Android's recorder writes it."""
    found = read_movie(movie(trak()))
    assert recorded(found, found.tracks[0]) == Span(0, 45_124, 44_100)


def test_an_empty_edit_delays_nothing() -> None:
    """There is no picture to keep in step with."""
    found = read_movie(movie(trak(edits=elst((478, -1), (1000, 1024)))))
    assert recorded(found, found.tracks[0]) == Span(1024, 45_124, 44_100)
    found = read_movie(movie(trak(edits=elst((478, -1)))))
    assert recorded(found, found.tracks[0]) == Span(0, 45_124, 44_100)


def test_the_length_does_not_come_from_movie_ticks() -> None:
    """A duration rounded to the next millisecond, up or down, is not believed."""
    for shown in (999, 1000, 1001, 5000, 0):
        found = read_movie(movie(trak(edits=elst((shown, 1024)))))
        assert recorded(found, found.tracks[0]) == Span(1024, 45_124, 44_100)


def test_an_edit_that_cuts_the_end_is_honoured() -> None:
    """Apple leaves the padding of the last packet to the edit, counted in samples."""
    file = movie(trak(header=mdhd(duration=46 * 1024), edits=elst((44_100, 2112))), timescale=44_100)
    found = read_movie(file)
    assert recorded(found, found.tracks[0]) == Span(2112, 2112 + 44_100, 44_100, 46 * 1024 - 2112 - 44_100)


def test_an_unknown_length_is_open() -> None:
    """Fragmented files have no duration in their header; a written one of all ones says the same."""
    for duration in (0, 0xFFFFFFFF):
        found = read_movie(movie(trak(header=mdhd(duration=duration), edits=elst((0, 1024)))))
        assert recorded(found, found.tracks[0]) == Span(1024, None, 44_100)


def test_priming_longer_than_the_track_is_nonsense() -> None:
    found = read_movie(movie(trak(edits=elst((1000, 2**31 - 1)))))
    assert recorded(found, found.tracks[0]) == Span(0, 45_124, 44_100)


def test_of_several_parts_the_first_begins() -> None:
    found = read_movie(movie(trak(edits=elst((100, 2048), (200, 20_000)))))
    assert recorded(found, found.tracks[0]) == Span(2048, 45_124, 44_100)


def test_what_is_no_box_may_stand_at_the_end() -> None:
    """Recorders leave padding, tags and worse behind."""
    assert read_movie(movie(trak()) + b"\x00\x00\x00\x01TAG and so on") == read_movie(movie(trak()))
    assert read_movie(movie(trak()) + bytes(100)) == read_movie(movie(trak()))


def test_other_tracks_are_named() -> None:
    found = read_movie(movie(trak(handler=b"vide", codec=b"avc1"), trak()))
    assert [(track.handler, track.codec) for track in found.tracks] == [("vide", "avc1"), ("soun", "mp4a")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no index"),
        (box(b"ftyp", b"M4A ") + box(b"mdat", bytes(50)), "no index"),
        (box(b"ftyp", b"M4A ") + struct.pack(">I4s", 5000, b"mdat") + bytes(50), "was cut off"),
        (movie(trak())[:200], "within its index"),
        (box(b"ftyp", b"M4A ") + struct.pack(">I4s", 4, b"free") + bytes(50), "no index"),
        (movie(struct.pack(">I4s", 4, b"trak")), "less than its header"),
        (movie(box(b"trak")), "no time base"),
        (movie(trak(header=mdhd(timescale=0))), "no time base"),
        (movie(trak(header=box(b"mdhd", bytes(5)))), "cut short"),
        (movie(trak(edits=box(b"edts", box(b"elst", b"\x00")))), "cut short"),
        (movie(box(b"cmov")), "compressed"),
        (movie(*[trak()] * (MAX_TRACKS + 1)), "tracks"),
        (movie(box(b"free") * 5000), "far too many"),
        (box(b"free") * 70_000, "far too many"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damage_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(Mp4Error, match=reason):
        read_movie(data)


def test_a_count_reaches_no_further_than_the_bytes() -> None:
    """Four billion edits are claimed and one is there."""
    lie = box(b"edts", box(b"elst", struct.pack(">II", 0, 0xFFFFFFFF), struct.pack(">IiI", 1000, 1024, 1 << 16)))
    assert read_movie(movie(trak(edits=lie))).tracks[0].edits == (Edit(1000, 1024),)
    many = read_movie(movie(trak(edits=elst(*[(1, 1)] * 1000))))
    assert len(many.tracks[0].edits) == MAX_EDITS


@given(st.binary(max_size=400))
def test_garbage_is_an_mp4_error(data: bytes) -> None:
    """read_movie raises Mp4Error and nothing else."""
    with contextlib.suppress(Mp4Error):
        read_movie(data)


VALID = movie(trak(handler=b"vide"), trak(edits=elst((478, -1), (1000, 1024))))


@settings(max_examples=300)
@given(st.randoms(use_true_random=False))
def test_damaged_fields_are_an_mp4_error_or_a_span(chance: random.Random) -> None:
    """Any field overwritten: an error, or a span that is one."""
    data = bytearray(VALID)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) - 4)
        value = chance.choice([0, 1, 7, 8, 2**31 - 1, 2**31, 2**32 - 1, chance.getrandbits(32)])
        struct.pack_into(">I", data, at, value)
    try:
        found = read_movie(bytes(data))
    except Mp4Error:
        return
    for track in found.tracks:
        span = recorded(found, track)
        assert span.start >= 0
        assert span.timescale > 0
        assert span.stop is None or span.stop > span.start


def gapless(text: bytes) -> bytes:
    name = box(b"name", bytes(4), b"iTunSMPB")
    tag = box(b"----", box(b"mean", bytes(4), b"com.apple.iTunes"), name, box(b"data", bytes(8), text))
    return box(b"udta", box(b"meta", bytes(4), box(b"ilst", tag)))


@pytest.mark.parametrize(
    ("text", "span"),
    [
        (b" 00000000 00000840 000001C0 0000000000001000 00000000", Span(0x840, 0x1840, 44_100, 0x1C0)),
        (b" 00000000 00000840 000001C1 0000000000001000 00000000", Span(0, 0x1A00, 44_100)),
        (b" 00000000 -0000840 000001C0 0000000000001000", Span(0, 0x1A00, 44_100)),
        (b" 00000000 00000840", Span(0, 0x1A00, 44_100)),
        (b" nonsense all the way", Span(0, 0x1A00, 44_100)),
        (b"", Span(0, 0x1A00, 44_100)),
    ],
)
def test_what_itunes_says_is_believed_if_it_adds_up(text: bytes, span: Span) -> None:
    told = read_movie(movie(trak(header=mdhd(duration=0x1A00)), gapless(text)))
    assert recorded(told, told.tracks[0]) == span
