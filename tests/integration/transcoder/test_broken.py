"""Damaged, hostile and wrong files: audio or a typed error, quickly, and the process goes on."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.media.make_media import (
    Clip,
    as_samples,
    box,
    correlation,
    encode_any,
    find,
    make_clip,
    make_video,
    patch,
    repeated,
    speech,
    with_duration,
    without_edit_list,
)
from transcoder import errors
from transcoder.decoded import Decoded
from transcoder.limits import MAX_FILE_BYTES
from transcoder.pipeline import decode_file

QUICK_S = 1.0
"""Generous: most take a millisecond."""


def outcome(data: bytes, max_seconds: float = 20.0) -> Decoded | errors.MediaError:
    """What became of it, if that was quick."""
    started = time.process_time()
    try:
        return decode_file(data, max_seconds=max_seconds)
    except errors.MediaError as error:
        return error
    finally:
        assert time.process_time() - started < QUICK_S


@pytest.fixture(scope="module")
def clip() -> Clip:
    return make_clip(rate=44_100, layout="stereo", samples=44_100)


@pytest.fixture(scope="module")
def moov_first() -> Clip:
    return make_clip(rate=44_100, layout="stereo", samples=44_100, moov_first=True)


@pytest.mark.parametrize(
    ("data", "code", "found"),
    [
        (b"", "empty", "empty"),
        (bytes(10_000), "not_audio", "zero bytes"),
        (b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n", "not_audio", "playlist"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "not_audio", "concat script"),
        (b'{"type": "audio"}', "not_audio", "JSON"),
        (b"<html><body>502 Bad Gateway</body></html>", "not_audio", "web page"),
        (b"PK\x03\x04" + bytes(100), "not_audio", "ZIP"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm", "broken_media", "WEBM"),
        (b"OggS\x00\x02" + bytes(22) + b"OpusHead", "broken_media", "Ogg"),
        (b"ID3\x04" + bytes(100), "broken_media", "MP3"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "broken_media", "cannot be read"),
        (b"caff\x00\x01\x00\x00", "broken_media", "CAF"),
        (b"\xff\xf1\x50\x80\x02\x1f\xfc", "broken_media", "ADTS"),
        (b"\x56\xe0" + bytes(40), "unsupported_media", "LATM"),
        (bytes.fromhex("3026b2758e66cf11") + bytes(40), "unsupported_media", "WMA"),
        (b"RIFF\x24\x00\x00\x00AVI LIST", "unsupported_media", "AVI"),
        (bytes(MAX_FILE_BYTES + 1), "too_large", "16.8 MB"),
    ],
)
def test_what_was_found_is_named(data: bytes, code: str, found: str) -> None:
    error = outcome(data)
    assert isinstance(error, errors.MediaError)
    assert error.code == code
    assert found in str(error)
    assert len(str(error)) < 300


@pytest.mark.parametrize("script", [b"#EXTM3U\n/etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n"])
def test_a_script_in_an_mp4s_clothes_opens_nothing(script: bytes) -> None:
    """The format is ours to name: what a script says after a box that looks right is never read as one."""
    for data in (box(b"ftyp", b"M4A ") + script, struct.pack(">I4s", 16, b"wide") + script):
        assert isinstance(outcome(data), errors.BrokenMedia)


def test_a_reference_to_another_file_is_not_followed(clip: Clip) -> None:
    """QuickTime's `dref` may name a file; ours says that it is in this one, an alias says elsewhere."""
    start, _ = find(clip.data, "moov/trak/mdia/minf/dinf/dref")
    alias = clip.data[: start + 20] + b"alis" + b"\x00\x00\x00\x00" + clip.data[start + 28 :]
    assert not isinstance(outcome(alias), errors.DecoderFailed)


def test_a_video_without_sound() -> None:
    error = outcome(make_video(with_audio=False))
    assert isinstance(error, errors.NotAudio)
    assert "without an audio track (it has video)" in str(error)


@pytest.mark.parametrize(("container", "name"), [("mp4", "AC-3"), ("caf", "ac-3"), ("wav", "ac3"), ("matroska", "A_AC3")])
def test_another_codec_is_named(container: str, name: str) -> None:
    """Whatever container it is in, its decoder is not on the list."""
    pcm = speech("speech_espeak", 48_000, "mono")[:9600]
    error = outcome(encode_any(pcm, rate=48_000, codec="ac3", container=container))
    assert isinstance(error, errors.UnsupportedMedia | errors.BrokenMedia)
    assert name in str(error)


def test_cut_off_anywhere(clip: Clip, moov_first: Clip) -> None:
    """With the index at the end nothing is left; with it at the start what came before the cut is."""
    for part in range(1, 16):
        assert isinstance(outcome(clip.data[: len(clip.data) * part // 16]), errors.BrokenMedia)
    whole = decode_file(moov_first.data, max_seconds=20.0)
    heard = []
    for part in range(1, 16):
        result = outcome(moov_first.data[: len(moov_first.data) * part // 16])
        if isinstance(result, Decoded):
            heard.append(len(result.pcm))
            assert correlation(as_samples(result.pcm), as_samples(whole.pcm)) > 0.95
        else:
            assert isinstance(result, errors.BrokenMedia)
    assert heard == sorted(heard)
    assert len(heard) >= 12
    assert heard[-1] > len(whole.pcm) * 0.85


def test_a_damaged_packet_costs_itself(clip: Clip) -> None:
    """Silence of its length takes its place; what follows keeps its time."""
    whole = decode_file(clip.data, max_seconds=20.0)
    start, end = find(clip.data, "mdat")
    middle = (start + end) // 2
    result = outcome(clip.data[:middle] + b"\xff" * 600 + clip.data[middle + 600 :])
    assert isinstance(result, Decoded)
    assert result.lost_packets > 0
    assert len(result.pcm) == len(whole.pcm)
    tail = slice(len(whole.pcm) // 4 * 3, None)
    assert correlation(as_samples(result.pcm[tail]), as_samples(whole.pcm[tail])) > 0.99


def test_zeroed_audio(clip: Clip) -> None:
    start, end = find(clip.data, "mdat")
    outcome(clip.data[: start + 8] + bytes(end - start - 8) + clip.data[end:])


@pytest.mark.parametrize("seed", range(6))
def test_flipped_bits(seed: int, clip: Clip, moov_first: Clip) -> None:
    """Anywhere, and in the index above all."""
    chance = random.Random(seed)
    for _ in range(40):
        data = bytearray(chance.choice([clip.data, moov_first.data]))
        start, end = find(data, "moov") if chance.random() < 0.7 else (0, len(data))
        for _ in range(chance.choice([1, 3, 20])):
            data[chance.randrange(start, end)] ^= 1 << chance.randrange(8)
        outcome(bytes(data))


COUNTS = ["stts", "stsc", "stsz", "stco"]


@pytest.mark.parametrize("value", [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("table", COUNTS)
def test_a_lying_sample_table(table: str, value: int, clip: Clip) -> None:
    """A count or a size of any value neither hangs nor takes memory."""
    for offset in (4, 8, 12):
        outcome(patch(clip.data, f"moov/trak/mdia/minf/stbl/{table}", offset, struct.pack(">I", value)))


@pytest.mark.parametrize("path", ["moov", "moov/trak", "moov/trak/mdia", "moov/trak/mdia/minf/stbl", "mdat"])
@pytest.mark.parametrize("size", [0, 1, 7, 9, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_lying_box(path: str, size: int, clip: Clip) -> None:
    outcome(patch(clip.data, path, -8, struct.pack(">I", size)))


def test_ten_hours_are_only_claimed(clip: Clip) -> None:
    """Half a megabyte that says it is ten hours is believed, and refused, without decoding.

    Unless its edit list says that one second of them was recorded.
    """
    lie = with_duration(clip.data, 36_000 * 44_100) + box(b"free", bytes(500_000))
    second = outcome(lie)
    assert isinstance(second, Decoded)
    assert len(second.pcm) == 48_000
    data = without_edit_list(lie)
    error = outcome(data)
    assert isinstance(error, errors.TooLong)
    assert error.found_s == pytest.approx(36_000, abs=1)
    assert "20.0 s are allowed now" in str(error)


def test_hours_are_hidden(clip: Clip) -> None:
    """A header that says nothing, and a table that plays one packet for four hours: stopped at the limit."""
    quiet = make_clip(rate=8_000, samples=4000, bit_rate=24_000)
    error = outcome(repeated(quiet, packets=112_500, declared_ticks=0))
    assert isinstance(error, errors.TooLong)
    assert error.at_least
    assert error.found_s < 20.2
    one = outcome(repeated(quiet, packets=112_500, declared_ticks=8_000))
    assert isinstance(one, Decoded)
    assert len(one.pcm) == 48_000


def test_hours_before_the_sound() -> None:
    """An edit list that leaves out four hours first would have them decoded for nothing."""
    quiet = make_clip(rate=8_000, samples=4000, bit_rate=24_000)
    data = repeated(quiet, packets=112_500, declared_ticks=0, skipped_ticks=110_000 * 1024)
    assert isinstance(outcome(data), errors.UnsupportedMedia)


def test_a_hundred_thousand_damaged_packets() -> None:
    """Each costs a little; together they do not cost seconds."""
    quiet = make_clip(rate=8_000, samples=4000, bit_rate=24_000)
    data = bytearray(repeated(quiet, packets=112_500, declared_ticks=0))
    start, end = find(data, "mdat")
    data[start + 8 : end] = b"\xff" * (end - start - 8)
    error = outcome(bytes(data))
    assert isinstance(error, errors.BrokenMedia)
    assert "packets of this file are damaged" in str(error)
    nothing = patch(bytes(data), "moov/trak/mdia/minf/stbl/stsz", 4, bytes(4))
    outcome(nothing)


def test_the_limit_is_exact(clip: Clip) -> None:
    """A second fits into a second, and spends no more."""
    fits = outcome(clip.data, max_seconds=1.0)
    assert isinstance(fits, Decoded)
    assert fits.source.duration_s <= 1.0
    assert isinstance(outcome(clip.data, max_seconds=0.999), errors.TooLong)
    assert isinstance(outcome(clip.data, max_seconds=0.0), errors.TooLong)


@pytest.mark.parametrize(
    "make",
    [
        lambda clip: clip.data + box(b"free") * 2_000_000,
        lambda clip: box(b"ftyp", b"M4A ") + box(b"free") * 2_000_000 + clip.data,
        lambda clip: box(b"ftyp", b"M4A ") + box(b"moov", box(b"trak") * 200_000),
        lambda clip: box(b"ftyp", b"M4A ") + box(b"moov", box(b"free") * 2_000_000),
    ],
    ids=["boxes after", "boxes before", "tracks", "boxes within"],
)
def test_very_many_boxes(make: Callable[[Clip], bytes], clip: Clip) -> None:
    outcome(make(clip)[:MAX_FILE_BYTES])


def test_boxes_within_boxes(clip: Clip) -> None:
    """Ten thousand deep, in the index of a good file."""
    nested = b""
    for _ in range(10_000):
        nested = box(b"udta", nested)
    start, end = find(clip.data, "moov")
    moov = box(b"moov", clip.data[start + 8 : end], nested)
    outcome(clip.data[:start] + moov + clip.data[end:])


def test_tags_that_are_no_text(clip: Clip) -> None:
    """A title that is not UTF-8 is no reason to refuse a recording."""
    name = box(b"\xa9nam", box(b"data", struct.pack(">II", 1, 0), b"\xff\xfe\xff broken"))
    hdlr = box(b"hdlr", bytes(8), b"mdirappl", bytes(9))
    tags = box(b"udta", box(b"meta", bytes(4), hdlr, box(b"ilst", name)))
    start, end = find(clip.data, "moov")
    data = clip.data[:start] + box(b"moov", clip.data[start + 8 : end], tags) + clip.data[end:]
    assert isinstance(outcome(data), Decoded)


@settings(max_examples=100, deadline=None)
@given(head=st.sampled_from([b"", box(b"ftyp", b"M4A "), b"\x00\x00\x01\x00moov"]), rest=st.binary(max_size=2000))
def test_garbage_is_a_typed_error(head: bytes, rest: bytes) -> None:
    assert isinstance(outcome(head + rest), errors.MediaError)
