"""PCM16 at one rate → another, to the bit, however it comes and wherever one begins."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.media.make_media import as_samples, correlation, speech
from transcoder.continuous import ContinuousResampler
from transcoder.rates import warm_up_from

UP = [(rate, 24_000) for rate in (8_000, 11_025, 12_000, 16_000, 22_050, 32_000, 44_100, 48_000, 88_200, 96_000)]
DOWN = [(24_000, rate) for rate in (8_000, 16_000, 48_000)]
PAIRS = [*UP, *DOWN]
BIG = 40_000


def noise(samples: int, seed: int = 1) -> bytes:
    """Every bit matters."""
    return np.random.default_rng(seed).integers(-30_000, 30_000, samples, dtype=np.int16).tobytes()


def cut_at(pcm: bytes, edges: list[int]) -> list[bytes]:
    """At these samples."""
    whole = sorted({0, len(pcm) // 2, *(edge for edge in edges if edge < len(pcm) // 2)})
    return [pcm[2 * begin : 2 * end] for begin, end in itertools.pairwise(whole)]


def resample(parts: list[bytes], source: int, rate: int, position: int = 0) -> list[bytes]:
    resampler = ContinuousResampler(source, rate, position)
    return [*(resampler.feed(part) for part in parts), resampler.flush()]


@settings(max_examples=60, deadline=None)
@given(pair=st.sampled_from(PAIRS), edges=st.lists(st.integers(1, BIG), max_size=200), samples=st.integers(0, BIG))
def test_any_cutting_gives_the_same_pcm(pair: tuple[int, int], edges: list[int], samples: int) -> None:
    """Bit for bit."""
    pcm = noise(samples)
    assert b"".join(resample(cut_at(pcm, edges), *pair)) == b"".join(resample([pcm], *pair))


@pytest.mark.parametrize(("source", "rate"), PAIRS)
def test_sample_by_sample(source: int, rate: int) -> None:
    """The filter holds back the most then."""
    pcm = noise(3_000)
    assert b"".join(resample(cut_at(pcm, list(range(3_000))), source, rate)) == b"".join(resample([pcm], source, rate))


@pytest.mark.parametrize(("source", "rate"), [*PAIRS, (24_000, 24_000), (24_001, 24_000), (8_001, 24_000), (95_999, 24_000)])
@pytest.mark.parametrize("samples", [0, 1, 2, 15, 36, 37, 100, 1_000, 4_099, 30_011])
def test_the_length_is_exact(source: int, rate: int, samples: int) -> None:
    """What goes out is as long as what was recorded, rounded half up to a sample."""
    made = b"".join(resample(cut_at(noise(samples), list(range(0, samples, 480))), source, rate))
    assert len(made) // 2 == (2 * samples * rate + source) // (2 * source)


@settings(max_examples=60, deadline=None)
@given(pair=st.sampled_from(PAIRS), seed=st.integers(0, 10**6))
def test_who_begins_in_the_middle_makes_the_same(pair: tuple[int, int], seed: int) -> None:
    """Warmed up, from the next piece on; and every piece is as long as it was, also those before."""
    chance, samples = random.Random(seed), 3 * pair[0]
    parts = cut_at(noise(samples, seed), [chance.randrange(samples) for _ in range(80)])
    edges = [0, *itertools.accumulate(len(part) // 2 for part in parts)]
    undisturbed = resample(parts, *pair)
    done = chance.randrange(len(parts))
    begin = max(n for n, edge in enumerate(edges) if edge <= warm_up_from(*pair, edges[done]))
    again = resample(parts[begin:], *pair, edges[begin])
    assert [len(piece) for piece in again] == [len(piece) for piece in undisturbed[begin:]]
    assert again[done - begin :] == undisturbed[done:]


@pytest.mark.parametrize(("source", "rate"), PAIRS)
def test_without_a_warm_up_only_the_beginning_differs(source: int, rate: int) -> None:
    """What is gone cannot be heard; the length stays."""
    pcm = noise(source)
    undisturbed = b"".join(resample([pcm[: source // 2 * 2], pcm[source // 2 * 2 :]], source, rate)[1:])
    again = b"".join(resample([pcm[source // 2 * 2 :]], source, rate, source // 2))
    assert len(again) == len(undisturbed)
    assert again[-rate // 2 :] == undisturbed[-rate // 2 :]


@pytest.mark.parametrize(("source", "rate"), PAIRS)
def test_speech_is_speech(source: int, rate: int) -> None:
    """In its place, to the sample."""
    heard = as_samples(b"".join(resample([speech("speech_espeak", source, "mono").tobytes()], source, rate)))
    expected = speech("speech_espeak", rate, "mono").astype(float)
    length = min(len(heard), len(expected))
    assert correlation(heard[:length], expected[:length]) > 0.98


def test_at_equal_rates_nothing_is_touched() -> None:
    """And nothing held back."""
    pcm = noise(100)
    assert resample([pcm, pcm], 24_000, 24_000) == [pcm, pcm, b""]
