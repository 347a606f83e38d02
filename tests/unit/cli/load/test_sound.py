"""Sound that is known again after a codec had it."""

from __future__ import annotations

import numpy as np

from cli.load.coding import Frame
from cli.load.sound import BLOCK, SoundReader, find, loud, pcm, samples

NUMBERS = range(0, 50, 5)


def test_each_block_is_found_where_it_stands() -> None:
    """Also with noise on it, and none is taken for another."""
    said = samples(pcm(7, 0, 50))
    noisy = np.concatenate([np.zeros(777), said, np.zeros(100)]) + np.random.default_rng(1).normal(0, 800, len(said) + 877)
    assert find(noisy, 7, NUMBERS) == [(777 + at * BLOCK, number) for at, number in enumerate(NUMBERS)]
    assert find(noisy, 8, NUMBERS) == []


def test_pieces_of_any_length_join() -> None:
    """A microphone gives forty milliseconds at a time."""
    assert b"".join(pcm(7, at, 2) for at in range(0, 50, 2)) == pcm(7, 0, 50)


def test_a_stream_is_read_as_it_comes() -> None:
    """Each block once; a second time only if it comes again; what is missing is missing."""
    reader = SoundReader(7)
    reader.expected = list(NUMBERS)
    heard = bytes(1_000) + pcm(7, 0, 20) + pcm(7, 10, 10) + pcm(7, 30, 20) + bytes(4_800)
    frames = [frame for at in range(0, len(heard), 1_801) for frame in reader.feed(heard[at : at + 1_801])]
    assert frames == [Frame(7, number) for number in [*range(20), *range(10, 20), *range(30, 50)]]
    assert set(reader.shifts) == {0}


def test_what_is_no_silence_is_measured_in_blocks() -> None:
    said = pcm(7, 0, 20)
    assert loud(samples(bytes(len(said)))) == 0
    assert loud(samples(bytes(9_600) + said + bytes(9_600))) == 4
    assert loud(samples(b"")) == 0
