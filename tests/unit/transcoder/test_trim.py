"""Which of the decoded samples were recorded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transcoder.trim import Span, Trim


def test_priming_and_padding_go() -> None:
    """A second of 44.1 kHz in frames of 1024, primed by one of them."""
    trim = Trim(Span(1024, 1024 + 44_100, 44_100))
    kept = [trim.keep(1024, 44_100) for _ in range(45)]
    assert kept[:2] == [(1024, 1024), (0, 1024)]
    assert sum(end - begin for begin, end in kept) == 44_100
    assert trim.finished


def test_half_the_rate_is_declared() -> None:
    """HE-AAC counts ticks at half the rate it decodes to."""
    trim = Trim(Span(1024, 1024 + 22_050, 22_050))
    kept = [trim.keep(2048, 44_100) for _ in range(24)]
    assert kept[0] == (2048, 2048)
    assert sum(end - begin for begin, end in kept) == 44_100


def test_the_rate_doubles_after_the_first_frame() -> None:
    """HE-AAC may show itself only then; time goes on where it was."""
    trim = Trim(Span(512, 512 + 22_050, 22_050))
    assert trim.keep(1024, 22_050) == (512, 1024)
    kept = [trim.keep(2048, 44_100) for _ in range(24)]
    assert sum(end - begin for begin, end in kept) == 44_100 - 2 * 512


def test_without_an_end_all_is_kept() -> None:
    trim = Trim(Span(0, None, 8000))
    assert trim.keep(160, 8000) == (0, 160)
    assert not trim.finished
    assert Span(0, None, 8000).duration_s is None


@given(
    start=st.integers(0, 5000),
    length=st.integers(0, 20_000),
    frames=st.lists(st.integers(1, 4096), max_size=20),
)
def test_any_frames_keep_the_same_samples(start: int, length: int, frames: list[int]) -> None:
    """However the samples are cut into frames, those of the span are kept and no other."""
    trim = Trim(Span(start, start + length, 16_000))
    kept: list[int] = []
    position = 0
    for samples in frames:
        begin, end = trim.keep(samples, 16_000)
        assert 0 <= begin <= end <= samples
        kept += range(position + begin, position + end)
        position += samples
    assert kept == [sample for sample in range(position) if start <= sample < start + length]
