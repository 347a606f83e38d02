"""Streams through the real codecs: exact in length, alike in sound, whatever the chunks, and going on behind a hole."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.media.make_media import STREAMS, as_samples, correlation, lag, libav_decode, make_stream
from transcoder.demux.packets import Packet
from transcoder.demux.webm import WebmDemuxer
from transcoder.errors import BrokenMedia, MediaError, NotAudio, TooLong, UnsupportedMedia
from transcoder.stream import StreamDecoder

RECORDED = Path(__file__).parents[2] / "media" / "mediarecorder"
FILES = sorted(path.name for path in RECORDED.iterdir() if path.suffix in (".webm", ".ogg", ".mp4"))
NAMES = [*STREAMS, *FILES]


def stream(name: str) -> bytes:
    return (RECORDED / name).read_bytes() if name in FILES else make_stream(name)


def decode(chunks: list[bytes], source: str = "stream") -> bytes:
    decoder = StreamDecoder(source)
    pcm = b"".join(decoder.feed(chunk, max_seconds=1e9).pcm for chunk in chunks)
    return pcm + decoder.close(max_seconds=1e9).pcm


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_sounds_and_lasts_as_ffmpeg_says(name: str) -> None:
    heard, wanted = as_samples(decode([stream(name)])), libav_decode(stream(name))
    assert lag(heard, wanted) == 0
    assert correlation(heard, wanted) > 0.999
    # libavformat's own Vorbis cuts its last packet by the page's position; the decoder alone cannot.
    assert abs(len(heard) - len(wanted)) <= (1024 if name == "vorbis.ogg" else 1)


@pytest.mark.parametrize("name", [name for name in STREAMS if name not in ("vorbis.ogg", "aac.mp4", "lc.aac", "opus.mp4")])
def test_where_a_stream_says_how_long_it_is_it_is_that_long(name: str) -> None:
    assert len(decode([stream(name)])) == 2 * 48_000


@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from(NAMES), cuts=st.lists(st.integers(0, 5_000), max_size=30))
def test_any_cutting_gives_the_same_pcm_bit_for_bit(name: str, cuts: list[int]) -> None:
    data, at, chunks = stream(name), 0, []
    for size in cuts:
        chunks.append(data[at : at + size])
        at += size
    assert decode([*chunks, data[at:]]) == decode([data])


@pytest.mark.parametrize("name", FILES)
def test_each_chunk_of_a_browser_is_heard_as_it_comes(name: str) -> None:
    """Never more than one packet (60 ms) and the resampler's millisecond behind what the bytes so far hold."""
    sizes = json.loads((RECORDED / f"{name}.json").read_text())
    decoder, at, heard = StreamDecoder(), 0, 0
    for size in sizes:
        heard += len(decoder.feed(stream(name)[at : at + size], max_seconds=1e9).pcm) // 2
        at += size
        if at > 5_000:
            assert heard >= len(decode([stream(name)[:at]])) // 2 - 24 * 62


@pytest.mark.parametrize(
    ("source", "dtype", "rate"),
    [("pcm_s16le 48000", "<i2", 48_000), ("pcm_s16le 24000", "<i2", 24_000), ("pcm_f32le 44100", "<f4", 44_100)],
)
def test_raw_samples_are_heard_as_they_are(source: str, dtype: str, rate: int) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate) * 0.5
    raw = (tone * 32_767).astype(dtype) if dtype == "<i2" else tone.astype(dtype)
    heard = as_samples(decode(cut(raw.tobytes(), 333), source))
    wanted = np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000) * 0.5 * 32_767
    assert len(heard) == 24_000
    assert correlation(heard, wanted) > 0.999


@pytest.mark.parametrize("codec", ["pcm_mulaw", "pcm_alaw"])
def test_telephone_bytes_are_heard(codec: str) -> None:
    assert len(decode([bytes(8_000)], f"{codec} 8000")) == 48_000


def test_raw_opus_packets_are_heard() -> None:
    packets = [event.data for event in WebmDemuxer().feed(stream("live_opus.webm")) if isinstance(event, Packet)]
    heard = decode(packets, "opus")
    assert len(heard) == 2 * 24 * 20 * len(packets)


@pytest.mark.parametrize(
    "name", ["live_opus.webm", "chromium_opus.webm", "firefox_opus.webm", "chromium_opus.mp4", "aac.mp4"]
)
def test_a_hole_becomes_silence_of_its_length_and_is_told(name: str) -> None:
    """Chunks are lost; what comes later keeps its place."""
    data, random = stream(name), Random(7)
    first = len(data) * 2 // 5
    second = first + round(len(data) * 0.05) + random.randrange(100)
    decoder = StreamDecoder()
    before = decoder.feed(data[:first], max_seconds=1e9)
    decoder.lost()
    after = decoder.feed(data[second:], max_seconds=1e9)
    last = decoder.close(max_seconds=1e9)
    missing_s = after.missing_s + last.missing_s
    whole = len(decode([data])) // 2
    heard = sum(len(part.pcm) for part in (before, after, last)) // 2
    assert missing_s > 0
    assert heard / 24_000 + max(0.0, missing_s - 0.3) == pytest.approx(whole / 24_000, abs=0.03)


@settings(max_examples=80, deadline=None)
@given(name=st.sampled_from(NAMES), flips=st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 255)), max_size=10))
def test_damaged_streams_give_sound_or_a_sentence(name: str, flips: list[tuple[int, int]]) -> None:
    data = bytearray(stream(name)[:20_000])
    for at, value in flips:
        data[at % len(data)] ^= value
    decoder = StreamDecoder()
    try:
        for chunk in cut(bytes(data), 997):
            decoder.feed(chunk, max_seconds=1e9)
        decoder.close(max_seconds=1e9)
    except MediaError as error:
        assert len(str(error)) > 20  # noqa: PT017 - either is right


def test_more_than_may_be_heard_is_refused() -> None:
    with pytest.raises(TooLong):
        StreamDecoder().feed(stream("opus.webm"), max_seconds=1.0)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n" + bytes(100), NotAudio),
        (b"ffconcat version 1.0\nfile '/etc/passwd'\n" + bytes(100), NotAudio),
        (bytes(200), NotAudio),
        (b"RIFF\0\0\0\0WAVEfmt " + bytes(100), UnsupportedMedia),
        (b"\x1a\x45\xdf\xa3" + b"\xff" * 200, BrokenMedia),
    ],
)
def test_what_is_no_stream_is_named(data: bytes, error: type[MediaError]) -> None:
    with pytest.raises(error):
        decode([data])


@pytest.mark.parametrize("source", ["mp3", "pcm_s16le", "pcm_s16le 100", "pcm_s16le 48000 99", "opus 48000", "../x", ""])
def test_formats_that_there_are_not_are_refused_by_a_list_of_those_there_are(source: str) -> None:
    with pytest.raises(UnsupportedMedia, match="pcm_s16le"):
        StreamDecoder(source)
