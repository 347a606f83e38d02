"""Whole files → PCM, exact to the sample, beside FFmpeg's own decode of the same file."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.media.make_media import (
    SOURCES,
    Clip,
    as_samples,
    correlation,
    find,
    lag,
    libav_decode,
    make_clip,
    make_video,
    speech,
    with_duration,
    with_edit,
    without_edit_list,
)
from transcoder.decoded import Decoded
from transcoder.pipeline import decode_file

PRIMING = 1024
"""Samples that FFmpeg's AAC encoder puts before the first."""


def decode(data: bytes) -> Decoded:
    return decode_file(data, max_seconds=30.0)


def assert_exact(decoded: Decoded, clip: Clip) -> None:
    """As long as what was recorded, in step with it, and like what FFmpeg makes of it."""
    assert abs(len(decoded.pcm) // 2 - clip.samples_at_24k) <= 1
    assert decoded.source.duration_s == pytest.approx(clip.samples / clip.rate, abs=1e-9)
    assert decoded.lost_packets == 0
    assert correlation(as_samples(decoded.pcm), libav_decode(clip.data)) > 0.99


@pytest.mark.parametrize("layout", ["mono", "stereo"])
@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("source", SOURCES)
def test_aac_is_exact(source: str, rate: int, layout: str) -> None:
    """At each bit rate, with the index at either end; the lengths are no multiple of anything."""
    for number, bit_rate in enumerate([24_000, 32_000, 64_000, 96_000, 128_000]):
        for moov_first in (False, True):
            samples = rate * 5 // 4 + 997 * number + moov_first
            clip = make_clip(source, rate=rate, layout=layout, bit_rate=bit_rate, samples=samples, moov_first=moov_first)
            assert (find(clip.data, "moov") < find(clip.data, "mdat")) == moov_first
            decoded = decode(clip.data)
            assert_exact(decoded, clip)
            assert decoded.source.codec == "aac"
            assert decoded.source.container == "m4a"
            assert decoded.source.sample_rate == rate
            assert decoded.source.channels == (2 if layout == "stereo" else 1)


@pytest.mark.parametrize("rate", [11_025, 12_000, 24_000, 32_000, 64_000, 88_200, 96_000])
def test_every_rate_of_aac(rate: int) -> None:
    clip = make_clip(rate=rate, samples=rate + 123)
    assert_exact(decode(clip.data), clip)


@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_alac_is_exact(rate: int, layout: str) -> None:
    """Lossless: at 24 kHz mono the very samples."""
    clip = make_clip(rate=rate, layout=layout, codec="alac")
    decoded = decode(clip.data)
    assert_exact(decoded, clip)
    if (rate, layout) == (24_000, "mono"):
        assert decoded.pcm == speech("speech_espeak", rate, layout).tobytes()


def test_amr_in_3gp_is_exact() -> None:
    """What older Android builds record; FFmpeg's encoder primes it by 50 samples."""
    clip = make_clip(rate=8_000, samples=20_000, codec="libopencore_amrnb", bit_rate=12_200, container="3gp")
    decoded = decode(clip.data)
    assert_exact(decoded, clip)
    assert (decoded.source.container, decoded.source.codec) == ("3gp", "amrnb")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_it_is_in_step_with_the_source(source: str, rate: int) -> None:
    """Not only as FFmpeg has it: no sample early or late against what was recorded."""
    decoded = decode(make_clip(source, rate=rate, bit_rate=96_000).data)
    assert lag(as_samples(decoded.pcm), speech(source, 24_000, "mono").astype(float)) == 0


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(1, 9000))
def test_any_length(samples: int) -> None:
    """From one sample on."""
    clip = make_clip(rate=22_050, samples=samples)
    assert abs(len(decode(clip.data).pcm) // 2 - clip.samples_at_24k) <= 1


def test_without_an_edit_list() -> None:
    """Android's recorder writes none: all that is there was recorded, the encoder's priming with it."""
    clip = make_clip(rate=44_100, samples=44_100)
    decoded = decode(without_edit_list(clip.data))
    assert_exact(decoded, Clip(without_edit_list(clip.data), clip.samples + PRIMING, clip.rate))


@pytest.mark.parametrize("priming", [0, 1, 576, 1105, 2112, 2624])
def test_other_priming(priming: int) -> None:
    """Whatever the edit list says, to the sample: 2112 is Apple's."""
    clip = make_clip(rate=48_000, samples=48_000)
    edited = with_edit(clip.data, -(-(clip.samples + PRIMING - priming) // 48), priming)
    decoded = decode(edited)
    whole = as_samples(decode(without_edit_list(clip.data)).pcm)
    assert abs(len(decoded.pcm) // 2 - round((clip.samples + PRIMING - priming) / 2)) <= 1
    assert lag(whole, as_samples(decoded.pcm)) in (priming // 2, (priming + 1) // 2)


def test_the_end_is_cut_to_the_sample() -> None:
    """What the header says was recorded, not what the last packet holds."""
    clip = make_clip(rate=48_000, samples=48_000)
    assert len(decode(with_duration(clip.data, 30_000 + PRIMING)).pcm) // 2 == 15_000


def test_a_leading_delay_is_passed_over() -> None:
    """An empty edit moves the sound against the picture; nobody sees one."""
    clip = make_clip(rate=48_000, samples=24_000)
    assert len(decode(with_edit(clip.data, 700, -1)).pcm) // 2 == (24_000 + PRIMING) // 2


def test_fragments_in_one_file() -> None:
    """A fragmented file that comes whole: all of it; how long it is no header says."""
    clip = make_clip(rate=48_000, samples=48_000, container="mp4", movflags="frag_keyframe+empty_moov")
    decoded = decode(clip.data)
    assert clip.samples_at_24k <= len(decoded.pcm) // 2 <= clip.samples_at_24k + 2 * PRIMING // 2
    assert decoded.source.container == "mp4"


def test_pictures_are_passed_over() -> None:
    """A video gives its sound."""
    decoded = decode(make_video(with_audio=True))
    assert abs(len(decoded.pcm) // 2 - 24_000) <= 1


def test_movie_files_are_m4a_too() -> None:
    clip = make_clip(rate=44_100, samples=30_000, container="mov")
    decoded = decode(clip.data)
    assert_exact(decoded, clip)
    assert decoded.source.container == "mov"


def test_more_channels_are_mixed_down() -> None:
    """Up to eight."""
    clip = make_clip(rate=48_000, samples=24_000, layout="mono")
    assert decode(clip.data).source.channels == 1
    wide = make_clip(rate=48_000, samples=24_000, layout="5.1", bit_rate=128_000)
    decoded = decode(wide.data)
    assert decoded.source.channels == 6
    assert len(decoded.pcm) // 2 == 12_000
