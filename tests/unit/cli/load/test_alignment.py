"""What came out beside what was said: whole, cut, doubled, swapped, another's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from cli.load.alignment import Frames, Listener, Seam, Stretch, heard_whole, is_of, loud_ms, seams, strangers
from cli.load.coding import Frame
from cli.load.sound import RATE, STEP, Samples, sound

SAID = sound(7, 0, 100)
MS = RATE // 1000
LENGTHS = (20, 60, 200)
AT = 24_123
"""In the middle of a frame."""


def silence(ms: int) -> Samples:
    return np.zeros(ms * MS)


def heard(*pieces: Samples) -> Listener:
    """With the noise of a codec on it."""
    audio = np.concatenate([silence(100), *pieces, silence(100)])
    noise = np.random.default_rng(1).normal(0, 1_000, len(audio)) * (audio != 0)
    return heard_whole(audio + noise, 7, 100)


def counted(listener: Listener) -> Counter[int]:
    return Counter(frame.number for frame in Frames(7).fresh(listener.stretches))


def moved(listener: Listener) -> list[int]:
    """Milliseconds of each seam."""
    return [round(seam.skipped / MS) for seam in seams(listener.stretches)]


def test_what_is_whole_is_one_stretch() -> None:
    listener = heard(SAID)
    assert listener.stretches == [Stretch(2_400, 0, len(SAID))]
    assert listener.unknown == []
    assert counted(listener) == Counter(range(100))


@pytest.mark.parametrize("ms", LENGTHS)
def test_what_is_missing_is_known_to_the_millisecond(ms: int) -> None:
    listener = heard(SAID[:AT], SAID[AT + ms * MS :])
    assert moved(listener) == [ms]
    assert abs(len(counted(listener)) - (100 - ms // 20)) <= 1
    assert listener.unknown == []


@pytest.mark.parametrize("ms", LENGTHS)
def test_what_is_said_twice_is_known_to_the_millisecond(ms: int) -> None:
    listener = heard(SAID[:AT], SAID[AT - ms * MS :])
    assert moved(listener) == [-ms]
    assert abs(sum(counted(listener).values()) - (100 + ms // 20)) <= 1


@pytest.mark.parametrize("ms", LENGTHS)
def test_what_changed_places_is_seen(ms: int) -> None:
    """Two pieces of 20 ms are too short to be looked for: there they are missing, and something stands in their place."""
    n = ms * MS
    listener = heard(SAID[:AT], SAID[AT + n : AT + 2 * n], SAID[AT : AT + n], SAID[AT + 2 * n :])
    if ms > 20:
        assert moved(listener) == [ms, -2 * ms, ms]
    else:
        assert moved(listener)[0] == pytest.approx(2 * ms, abs=5)
        assert [len(piece) / MS for piece in listener.unknown] == [pytest.approx(2 * ms, abs=5)]


@pytest.mark.parametrize("ms", LENGTHS)
def test_sound_of_another_session_is_known_for_what_it_is(ms: int) -> None:
    """In the place of one's own, and in between."""
    others = sound(9, 0, 100)[AT : AT + ms * MS]
    for rest, missing in ((SAID[AT + ms * MS :], ms), (SAID[AT:], 0)):
        listener = heard(SAID[:AT], others, rest)
        assert sum(moved(listener)) == pytest.approx(missing, abs=5)
        assert [len(piece) / MS for piece in listener.unknown] == [pytest.approx(ms, abs=5)]
        assert strangers(listener.unknown, [(8, 100), (9, 100)]) == pytest.approx(ms / 20, abs=1)
        assert strangers(listener.unknown, [(8, 100), (10, 0)]) == 0


@pytest.mark.parametrize("ms", LENGTHS)
def test_silence_in_between_moves_nothing(ms: int) -> None:
    listener = heard(SAID[:AT], silence(ms), SAID[AT:])
    assert moved(listener) == []
    assert counted(listener) == Counter(range(100))


@pytest.mark.parametrize("size", [100, 480, 1_111, 4_800])
def test_it_is_read_as_it_comes(size: int) -> None:
    """The frames are those that would be found in the whole; each as soon as it is more than half there."""
    n = 60 * MS
    audio = np.concatenate([silence(30), SAID[:AT], SAID[AT - n : 30_000], silence(500), SAID[31_000:], silence(100)])
    listener, frames, found = Listener(7), Frames(7), list[Frame]()
    for at in range(0, len(audio), size):
        listener.feed(audio[at : at + size], 100)
        found += frames.fresh(listener.stretches)
    listener.finish()
    found += frames.fresh(listener.stretches)
    whole = heard_whole(audio, 7, 100)
    assert found == Frames(7).fresh(whole.stretches)
    assert [seam.skipped for seam in seams(listener.stretches)] == [seam.skipped for seam in seams(whole.stretches)]
    assert listener.unknown == []


def test_what_two_answers_seem_to_share_is_of_one() -> None:
    """The first broke off in its last frame and came again whole; the next one seems to begin before itself."""
    first, again = Stretch(2_400, 0, 29 * STEP + STEP // 2), Stretch(16_560, 19 * STEP, 11 * STEP + 40)
    following = Stretch(32_880, 30 * STEP - 30, 5 * STEP)
    numbers = [frame.number for frame in Frames(7).fresh([first, again, following])]
    assert numbers == [*range(29), *range(19, 30), *range(30, 35)]


def test_what_a_codec_leaves_at_two_edges_is_not_one_long_sound() -> None:
    """A little behind the end of a turn and a little before the next one, and silence in between."""
    edge = np.random.default_rng(1).normal(0, 1_000, 20 * MS)
    listener = heard(SAID[: 50 * STEP], edge, silence(120), edge, SAID[50 * STEP :])
    assert [len(piece) / MS for piece in listener.unknown] == [20, 20]


def test_who_has_said_nothing_hears_nothing_of_his_own() -> None:
    listener = heard_whole(np.concatenate([silence(100), sound(9, 0, 30)]), 7, 0)
    assert listener.stretches == []
    assert [len(piece) for piece in listener.unknown] == [30 * STEP]


def test_nothing_is_waited_for_while_the_sound_goes_on() -> None:
    """A frame that is there is known: whoever waits for an answer's end knows it."""
    listener = Listener(7)
    listener.feed(SAID[: 50 * STEP], 100)
    assert len(Frames(7).fresh(listener.stretches)) == 50


def test_a_frame_that_comes_in_two_pieces_has_come_once() -> None:
    """And one of which half is missing has not."""
    half = 50 * STEP + STEP // 2
    assert frames_of(Stretch(0, 0, half), Stretch(half + 999, half, 10_000))[50] == 1
    assert frames_of(Stretch(0, 0, half), Stretch(half + 999, 51 * STEP + 1, 10_000))[50] == 0
    assert frames_of(Stretch(0, 0, half), Stretch(half, 50 * STEP, 10_000))[50] == 1


def frames_of(*stretches: Stretch) -> Counter[int]:
    return Counter(frame.number for frame in Frames(7).fresh(stretches))


def test_a_seam_that_two_have_seen_is_the_same() -> None:
    """Where it lies is known to a cell or two."""
    seam = Seam(1_000, 5_800, 0)
    assert seam.is_like(Seam(1_120, 5_920, 0))
    assert not seam.is_like(Seam(1_000, 6_800, 0))


def test_speech_is_known_by_its_beginning_its_middle_or_its_end() -> None:
    """And what is no sound is nobody's."""
    others = sound(9, 0, 40)
    for pieces in ([others, SAID[:24_000]], [SAID[:24_000], others], [silence(700), SAID[:3_000]]):
        assert is_of(np.concatenate(pieces), 7, 100)
    assert not is_of(silence(500), 7, 100)
    assert not is_of(others, 7, 100)
    assert not is_of(SAID, 7, 0)


@pytest.mark.parametrize(("pieces", "ms"), [([], 0), ([silence(300)], 0), ([silence(50), SAID[:4_800], silence(50)], 200)])
def test_what_is_no_silence_is_measured(pieces: Sequence[Samples], ms: float) -> None:
    assert loud_ms(np.concatenate([np.zeros(0), *pieces])) == ms
