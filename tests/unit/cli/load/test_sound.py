"""Sound that is known again by where it stands."""

from __future__ import annotations

import numpy as np
import pytest

from cli.load.alignment import FOUND
from cli.load.sound import QUIET, RATE, STEP, like, memory, pcm, samples, sound


def test_pieces_of_any_length_join() -> None:
    """A microphone gives forty milliseconds at a time."""
    assert b"".join(pcm(7, at, 2) for at in range(0, 50, 2)) == pcm(7, 0, 50)


def test_it_is_as_loud_as_speech_in_every_frame() -> None:
    loud = np.sqrt((sound(7, 0, 100).reshape(-1, STEP) ** 2).mean(axis=1))
    assert loud.min() > 5 * QUIET
    assert np.abs(sound(7, 0, 100)).max() < 32_767


def test_it_lies_in_the_band_that_codecs_keep() -> None:
    power = np.abs(np.fft.rfft(sound(7, 0, 100))) ** 2
    hertz = np.fft.rfftfreq(100 * STEP, 1 / RATE)
    assert power[(hertz > 250) & (hertz < 2_700)].sum() > 0.99 * power.sum()


@pytest.mark.parametrize("at", [0, 1, 481, 5_000])
def test_a_piece_is_found_to_the_sample(at: int) -> None:
    """With noise on it too, and only in what its session has said."""
    piece = sound(7, 0, 60)[at : at + 960]
    noisy = piece + np.random.default_rng(1).normal(0, 1_500, len(piece))
    place, likeness = memory(7, 60).find(noisy)
    assert (place, likeness > 0.8) == (at, True)
    assert memory(8, 60).find(noisy)[1] < FOUND


def test_what_was_said_long_ago_is_forgotten_and_four_turns_are_not() -> None:
    spoken = 5_000
    place, likeness = memory(7, spoken).find(sound(7, spoken - 320, 2))
    assert (place, likeness > 0.99) == ((spoken - 320) * STEP, True)
    assert memory(7, spoken).find(sound(7, 100, 2))[1] < FOUND


def test_silence_is_like_nothing() -> None:
    assert like(np.zeros(480), sound(7, 0, 1)) == 0
    assert len(samples(b"\1\2\3")) == 1
