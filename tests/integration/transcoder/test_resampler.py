"""Frames of any rate, layout and format → PCM16 mono, to the sample."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from av import AudioFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.media.make_media import Samples, as_samples, correlation, speech
from transcoder.resampler import Resampler


def frame(samples: Samples, rate: int, layout: str = "mono") -> AudioFrame:
    """One frame of planar floats, the same in each channel."""
    channels = 2 if layout == "stereo" else 1
    planes = np.tile((samples / 32768).astype(np.float32), (channels, 1))
    made = AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
    made.sample_rate = rate
    return made


@pytest.mark.parametrize("rate", [7_350, 8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("samples", [1, 2, 15, 16, 17, 31, 33, 100, 1000, 4099])
def test_the_length_is_exact(rate: int, samples: int) -> None:
    """Also for a handful of samples, fewer than the filter has."""
    resampler = Resampler()
    pcm = resampler.resample(frame(np.ones(samples), rate)) + resampler.resample(None)
    assert len(pcm) // 2 == int(samples * 24_000 / rate + 0.5)


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 8_000), max_size=12))
def test_any_split_gives_the_same_pcm(cuts: list[int]) -> None:
    """The phase is kept across frames, bit by bit."""
    source = speech("speech_espeak", 44_100, "mono")[:8_000].astype(float)
    edges = sorted({0, len(source), *(cut for cut in cuts if cut < len(source))})
    whole, split = Resampler(), Resampler()
    expected = whole.resample(frame(source, 44_100)) + whole.resample(None)
    parts = [split.resample(frame(source[a:b], 44_100)) for a, b in itertools.pairwise(edges)]
    assert b"".join(parts) + split.resample(None) == expected


def test_settings_may_change_on_the_way() -> None:
    """As HE-AAC does it: twice the rate, and two channels, from the second frame on. Nothing is lost between."""
    slow = speech("speech_espeak", 22_050, "mono").astype(float)
    fast = speech("speech_espeak", 44_100, "mono").astype(float)
    resampler = Resampler()
    pcm = resampler.resample(frame(slow[:11_025], 22_050))
    pcm += resampler.resample(frame(fast[22_050:66_150], 44_100, "stereo")) + resampler.resample(None)
    assert len(pcm) // 2 == 36_000
    assert correlation(as_samples(pcm), speech("speech_espeak", 24_000, "mono").astype(float)) > 0.99


def test_nothing_in_is_nothing_out() -> None:
    assert Resampler().resample(None) == b""


def test_it_can_go_on_after_a_flush() -> None:
    """A flushed resampler begins anew."""
    resampler = Resampler()
    first = resampler.resample(frame(np.ones(4_410), 44_100)) + resampler.resample(None)
    second = resampler.resample(frame(np.ones(4_410), 44_100)) + resampler.resample(None)
    assert first == second
    assert len(first) // 2 == 2_400


def test_it_has_no_threads() -> None:
    """Each thread's stack counts as a child's memory: with two a resampler, a child was full with sixteen streams."""
    before = len(list(Path("/proc/self/task").iterdir()))
    held = [Resampler() for _ in range(20)]
    for resampler in held:
        resampler.resample(frame(np.zeros(960), 48_000))
    assert len(list(Path("/proc/self/task").iterdir())) <= before
