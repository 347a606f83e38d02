"""Which of the decoded samples were recorded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcoder.trim import SBR_DELAY, Span, Trim


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


def test_the_core_knows_nothing_of_the_upper_half() -> None:
    """Which comes 481 ticks later; what was recorded is as long as it was."""
    trim = Trim(Span(2048, 2048 + 22_050, 22_050, padding=SBR_DELAY))
    kept = [trim.keep(2048, 44_100) for _ in range(25)]
    assert kept[:3] == [(2048, 2048), (2048, 2048), (2 * SBR_DELAY, 2048)]
    assert sum(end - begin for begin, end in kept) == 44_100


@pytest.mark.parametrize(
    ("span", "rate"),
    [
        (Span(1024, 23_074, 22_050, padding=SBR_DELAY), 22_050),
        (Span(1024, 45_124, 44_100, padding=SBR_DELAY), 44_100),
        (Span(1024, 23_074, 22_050, padding=SBR_DELAY - 1), 44_100),
        (Span(0, 22_050, 22_050, padding=SBR_DELAY), 44_100),
    ],
    ids=["core only", "counted at the full rate", "no room behind", "no priming stated"],
)
def test_elsewhere_it_begins_where_it_says(span: Span, rate: int) -> None:
    trim = Trim(span)
    kept = [trim.keep(1024, rate) for _ in range(100)]
    first = next(number * 1024 + begin for number, (begin, end) in enumerate(kept) if end > begin)
    assert first == span.start * rate // span.timescale


def test_when_the_upper_half_shows_itself_late_nothing_is_cut_out() -> None:
    trim = Trim(Span(512, 512 + 22_050, 22_050, padding=SBR_DELAY))
    assert trim.keep(1024, 22_050) == (512, 1024)
    assert trim.keep(2048, 44_100) == (0, 2048)


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
