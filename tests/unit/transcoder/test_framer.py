"""Frames of equal length from PCM of any length."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcoder.framer import Framer, cut


def test_cut_gives_the_rest_as_a_shorter_frame() -> None:
    """cut gives equal frames, then what is left."""
    assert list(cut(b"aabbccddee", 2)) == [b"aabb", b"ccdd", b"ee"]


def test_cut_drops_a_dangling_byte() -> None:
    """Half a sample at the end is no audio."""
    assert list(cut(b"aabbc", 2)) == [b"aabb"]
    assert list(cut(b"a", 2)) == []


def test_a_frame_has_samples() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        Framer(0)


def test_flush_empties_the_framer() -> None:
    """What was flushed does not come again."""
    framer = Framer(4)
    assert framer.feed(b"aabbc") == []
    assert framer.pending_bytes == 5
    assert framer.flush() == b"aabb"
    assert framer.flush() == b""


@given(pcm=st.binary(max_size=200), frame_samples=st.integers(1, 20), cuts=st.lists(st.integers(0, 200)))
def test_any_split_gives_the_same_frames(pcm: bytes, frame_samples: int, cuts: list[int]) -> None:
    """Any split of the same bytes gives the same frames, also in the middle of a sample."""
    edges = [0, *sorted(cuts), len(pcm)]
    framer = Framer(frame_samples)
    frames = [frame for start, end in itertools.pairwise(edges) for frame in framer.feed(pcm[start : max(start, end)])]
    if rest := framer.flush():
        frames.append(rest)
    assert frames == list(cut(pcm, frame_samples))
    assert b"".join(frames) == pcm[: len(pcm) // 2 * 2]
