"""A stream's decoder dies, and another one goes on: as long to the sample, and as near in sound as the codec can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.transcoder.test_stream import NAMES, decode, stream
from tests.media.make_media import Samples, as_samples, encode, make_stream, speech
from transcoder.errors import BrokenMedia, MediaError
from transcoder.stream import StreamDecoder
from transcoder.stream_state import MAX_STATE_BYTES

LOSSLESS = ("flac", "pcm", "alac")


def handed_over(chunks: list[bytes], deaths: set[int], source: str = "stream") -> tuple[bytes, list[int]]:
    """As a worker does it: what a decoder keeps is asked for now and then, and after a death all behind that is done again.

    Gives the PCM, each chunk's as it was made last, and how much each chunk made the first time.
    """
    kept, behind = StreamDecoder(source).keep(), 0
    decoder = StreamDecoder(source)
    made: list[bytes] = []
    for n, chunk in enumerate(chunks):
        made.append(decoder.feed(chunk, max_seconds=1e9).pcm)
        if n % 3 == 0 and (fresh := decoder.keep()):
            kept, behind = fresh, n + 1
        if n in deaths:
            decoder = StreamDecoder.going_on(kept) if behind else StreamDecoder(source)
            again = [decoder.feed(chunk, max_seconds=1e9).pcm for chunk in chunks[behind : n + 1]]
            assert [len(pcm) for pcm in again] == [len(pcm) for pcm in made[behind:]]
            made[behind:] = again
    return b"".join(made) + decoder.close(max_seconds=1e9).pcm, [len(pcm) for pcm in made]


def cut_at(data: bytes, sizes: list[int]) -> list[bytes]:
    chunks, at = [], 0
    for size in sizes:
        chunks.append(data[at : at + size])
        at += size
    return [*chunks, data[at:]]


def snr_db(heard: Samples, wanted: Samples) -> float:
    noise = np.sum((heard - wanted) ** 2)
    return float("inf") if not noise else 10 * np.log10(np.sum(wanted**2) / noise)


def spectral_distance(heard: Samples, wanted: Samples) -> float:
    """Of magnitudes, in 20 ms windows, relative."""
    size = len(heard) // 480 * 480
    one, other = (np.abs(np.fft.rfft(samples[:size].reshape(-1, 480))) for samples in (heard, wanted))
    return float(np.sum(np.abs(one - other)) / np.sum(other))


def assert_alike(name: str, heard: bytes, wanted: bytes) -> None:
    assert len(heard) == len(wanted)
    if any(codec in name for codec in LOSSLESS):
        assert heard == wanted
    elif "opus" in name:
        assert snr_db(as_samples(heard), as_samples(wanted)) >= 60
    else:
        assert spectral_distance(as_samples(heard), as_samples(wanted)) < 0.02


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(NAMES), sizes=st.lists(st.integers(0, 3_000), max_size=60), data=st.data())
def test_a_death_anywhere_leaves_no_seam(name: str, sizes: list[int], data: st.DataObject) -> None:
    chunks = cut_at(stream(name), sizes)
    deaths = data.draw(st.sets(st.integers(0, len(chunks) - 1), max_size=4))
    heard, _ = handed_over(chunks, deaths)
    assert_alike(name, heard, decode([stream(name)]))


@pytest.mark.parametrize("name", NAMES)
def test_a_death_at_every_chunk_too(name: str) -> None:
    data = stream(name)
    step = max(200, len(data) // 60)
    chunks = cut_at(data, [step] * (len(data) // step))
    heard, _ = handed_over(chunks, set(range(1, len(chunks), 2)))
    assert_alike(name, heard, decode([data]))


@pytest.mark.parametrize("bit_rate", [8_000, 12_000, 24_000])
def test_speech_coders_inside_of_opus_go_on_too(bit_rate: int) -> None:
    """SILK and the hybrid have delays of their own, which differ from each other."""
    recording = encode(
        speech("speech_jfk", 48_000, "mono")[: 4 * 48_000], rate=48_000, bit_rate=bit_rate, codec="libopus", container="webm"
    )
    step = len(recording) // 60
    chunks = cut_at(recording, [step] * 60)
    heard, _ = handed_over(chunks, set(range(8, 60, 5)))
    assert len(heard) == len(decode([recording]))
    assert snr_db(as_samples(heard), as_samples(decode([recording]))) >= 60


def test_what_is_kept_is_small() -> None:
    """A few kilobytes for what speaks; never more than a bound, however much of an element is there."""
    decoder = StreamDecoder()
    decoder.feed(make_stream("live_opus.webm"), max_seconds=1e9)
    assert 1_000 < len(decoder.keep()) < 10_000
    recorder = StreamDecoder()
    recorder.feed(make_stream("opus.webm")[:3_000] + b"\xa3\x08\x10\x00\x00" + bytes(1 << 20), max_seconds=1e9)
    assert len(recorder.keep()) <= MAX_STATE_BYTES


@settings(max_examples=100, deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=6), end=st.integers(0, 200)
)
def test_what_was_kept_and_has_gone_bad_gives_sound_or_a_sentence(flips: list[tuple[int, int]], end: int) -> None:
    data = make_stream("live_opus.webm")
    decoder = StreamDecoder()
    decoder.feed(data[:8_000], max_seconds=1e9)
    kept = bytearray(decoder.keep())
    for at, value in flips:
        kept[at % len(kept)] ^= value
    try:
        another = StreamDecoder.going_on(bytes(kept[: len(kept) - end]))
        another.feed(data[8_000:], max_seconds=1e9)
    except MediaError as error:
        assert len(str(error)) > 20  # noqa: PT017 - either is right


def test_before_there_is_sound_all_is_kept_or_nothing() -> None:
    """Half a header is; the middle of the priming is not, and the worker begins again."""
    data = make_stream("opus.webm")
    decoder = StreamDecoder()
    assert StreamDecoder.going_on(decoder.keep()).feed(data, max_seconds=1e9).pcm
    decoder.feed(data[:30], max_seconds=1e9)
    assert StreamDecoder.going_on(decoder.keep()).feed(data[30:], max_seconds=1e9).pcm
    with pytest.raises(BrokenMedia):
        StreamDecoder.going_on(b"x")
