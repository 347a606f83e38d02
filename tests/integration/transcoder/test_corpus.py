"""Every codec in every container: as long as it says, like FFmpeg's own decode, whole and in pieces.

All rates and layouts with `CORPUS=all` (`make corpus`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from tests.media.corpus import FOREIGN, SECONDS, Case, caf_aac, caf_opus, cases, made
from tests.media.make_media import Clip, as_samples, correlation, lag, libav_decode, resampled, speech
from transcoder.decoded import Decoded
from transcoder.pipeline import decode_file
from transcoder.stream import StreamDecoder
from transcoder.trim import SBR_DELAY

CASES = list(cases(everything=os.environ.get("CORPUS") == "all"))
MEDIARECORDER = FOREIGN.parent / "mediarecorder"
RECORDED = sorted(path.name for path in MEDIARECORDER.iterdir() if path.suffix in (".webm", ".ogg", ".mp4"))


def decode(data: bytes) -> Decoded:
    return decode_file(data, max_seconds=30.0)


def in_pieces(data: bytes, sizes: list[int]) -> bytes:
    decoder, at, pcm = StreamDecoder(), 0, b""
    for size in sizes:
        pcm += decoder.feed(data[at : at + size], max_seconds=30.0).pcm
        at += size
    return pcm + decoder.feed(data[at:], max_seconds=30.0).pcm + decoder.close(max_seconds=30.0).pcm


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_file_is_exact(case: Case) -> None:
    clip = made(case)
    decoded, wanted = decode(clip.data), libav_decode(clip.data)
    heard = as_samples(decoded.pcm)
    due = clip.samples_at_24k if case.recipe.states_its_length else len(wanted)
    assert abs(len(heard) - due) <= 1
    assert lag(heard, wanted) == 0
    assert correlation(heard, wanted) > 0.99
    assert decoded.lost_packets == 0
    assert decoded.source.channels == (2 if case.layout == "stereo" else 1)


@pytest.mark.parametrize("case", [case for case in CASES if case.recipe.streams], ids=str)
def test_a_stream_is_the_same_in_pieces(case: Case) -> None:
    """Of 20 ms, 250 ms and any length: the same samples."""
    data, random = made(case).data, Random(str(case))
    second = max(1, round(len(data) / SECONDS))
    any_length = [random.randrange(3 * second // 10) for _ in range(40)]
    heard = [in_pieces(data, sizes) for sizes in ([second // 50] * 70, [second // 4] * 6, any_length, [])]
    assert heard[1:] == heard[:-1]
    wanted = libav_decode(data)
    assert correlation(as_samples(heard[0]), wanted) > 0.99
    if case.recipe.states_its_length:
        assert len(heard[0]) // 2 == made(case).samples_at_24k


@pytest.mark.parametrize("name", RECORDED)
def test_what_a_browser_recorded_is_the_same_as_a_whole_file(name: str) -> None:
    data = (MEDIARECORDER / name).read_bytes()
    decoded = decode(data)
    assert decoded.pcm == in_pieces(data, [1000] * (len(data) // 1000))
    assert correlation(as_samples(decoded.pcm), libav_decode(data)) > 0.99


@pytest.mark.parametrize(
    ("name", "samples", "rate"),
    [
        ("amr_wb.3gp", 24_240, 16_000),
        ("amr_wb.amr", 24_320, 16_000),
        ("opus.caf", 72_960, 48_000),
        ("speex.ogg", 24_320, 16_000),
        ("heaac_v1.aac", 71_680, 44_100),
    ],
)
def test_files_of_other_makers_are_exact(name: str, samples: int, rate: int) -> None:
    data = (FOREIGN / name).read_bytes()
    decoded, wanted = decode(data), libav_decode(data)
    heard = as_samples(decoded.pcm)
    assert abs(len(heard) - Clip(data, samples, rate).samples_at_24k) <= 1
    assert lag(heard, wanted) == 0
    assert correlation(heard, wanted) > 0.99
    assert decoded.lost_packets == 0


@pytest.mark.parametrize(("name", "priming", "ticks"), [("heaac_v1.m4a", 0x800, 35_840), ("heaac_v2.m4a", 0xC00, 36_864)])
def test_he_aac_has_all_its_extensions_and_begins_where_itunes_says(name: str, priming: int, ticks: int) -> None:
    """In ticks of the core, half the rate of what is heard, and without the delay of the decoder's upper half. FFmpeg passes
    `iTunSMPB` over."""
    data = (FOREIGN / name).read_bytes()
    decoded, all_of_it = decode(data), libav_decode(data, 44_100)
    assert decoded.source.sample_rate == 44_100
    assert decoded.source.duration_s == pytest.approx(0x8135 / 22_050)
    begins = 2 * (priming + SBR_DELAY) - (2 * ticks - len(all_of_it))  # FFmpeg drops something of its own at the start
    wanted = resampled(all_of_it[begins : begins + 2 * 0x8135], 44_100)
    assert len(decoded.pcm) // 2 == len(wanted)
    assert correlation(as_samples(decoded.pcm), wanted) > 0.99
    assert abs(lag(as_samples(decoded.pcm), speech("speech_espeak", 24_000, "mono").astype(np.int16))) <= 1


@pytest.mark.parametrize("make", [caf_aac, caf_opus])
def test_a_core_audio_file_says_what_was_recorded(make: Callable[[], Clip]) -> None:
    clip = make()
    decoded = decode(clip.data)
    heard, wanted = as_samples(decoded.pcm), libav_decode(clip.data)
    assert abs(len(heard) - clip.samples_at_24k) <= 1
    assert decoded.source.container == "caf"
    shift = -lag(heard, wanted)
    assert correlation(heard, wanted[max(0, shift) :]) > 0.99


def test_a_wav_that_was_never_finished_is_heard_to_its_end() -> None:
    """Whoever streams one cannot know its length: both sizes are zero, or all ones."""
    clip = made(next(case for case in CASES if case.recipe.name == "wav_pcm_s16le"))
    at = clip.data.index(b"data") + 4
    for size in (bytes(4), b"\xff" * 4):
        data = clip.data[:4] + size + clip.data[8:at] + size + clip.data[at + 4 :]
        assert abs(len(decode(data).pcm) // 2 - clip.samples_at_24k) <= 1
