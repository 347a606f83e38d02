from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.audio_format import PCM, PCMU, convert
from simulator.vad import FRAME_MS, Mark, Sensitivity, Started, Stopped, Vad
from simulator.voice import hello

RANDOM = np.random.default_rng(5)
USUAL = Sensitivity(threshold=0.5, silence_duration_ms=500)


def to_bytes(samples: npt.NDArray[np.float64 | np.int32]) -> bytes:
    return bytes(samples.clip(-32768, 32767).astype("<i2").tobytes())


def noise(seconds: float, level_db: float) -> bytes:
    samples = RANDOM.standard_normal(round(seconds * 24_000)) * 32768 * 10 ** (level_db / 20)
    return to_bytes(samples)


def voice(seconds: float, level_db: float = -20.0) -> bytes:
    """A buzz whose loudness goes up and down four times a second, as syllables do."""
    times = np.arange(round(seconds * 24_000)) / 24_000
    wave = np.sign(np.sin(2 * np.pi * 140 * times)) * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * times))
    return to_bytes(wave * 32768 * 10 ** (level_db / 20))


def add(first: bytes, second: bytes) -> bytes:
    both = np.frombuffer(first, "<i2").astype(np.int32) + np.frombuffer(second, "<i2")
    return to_bytes(both)


def marks(audio: bytes, sensitivity: Sensitivity = USUAL) -> list[Mark]:
    return list(Vad(sensitivity, PCM).feed(audio))


def test_speech_in_silence() -> None:
    """speech starts where it starts, and stops when the silence after it is long enough."""
    audio = bytes(48_000) + voice(1.0) + bytes(48_000)
    assert marks(audio) == [Started(1000), Stopped(2500)]


@pytest.mark.parametrize("room_db", [-60.0, -50.0, -40.0])
def test_speech_in_a_noisy_room(room_db: float) -> None:
    """a steady noise is no speech, and speech above it is found within 100 ms."""
    speech = bytes(96_000) + voice(1.0, -15.0) + bytes(96_000)
    found = marks(add(speech, noise(5.0, room_db)))
    assert [type(mark) for mark in found] == [Started, Stopped]
    assert found[0].at_ms == pytest.approx(2000, abs=100)
    assert found[1].at_ms == pytest.approx(3500, abs=150)


@pytest.mark.parametrize("room_db", [-90.0, -60.0, -45.0, -35.0])
def test_real_words(room_db: float) -> None:
    """two spoken sentences are one turn, of the right length, in any room."""
    words = hello()
    found = marks(add(bytes(48_000) + words + bytes(48_000), noise(2 + len(words) / 48_000, room_db)))
    assert [type(mark) for mark in found] == [Started, Stopped]
    assert found[1].at_ms - found[0].at_ms == pytest.approx(len(words) / 48 + 500, abs=400)


def test_noise_alone() -> None:
    """a minute of a noisy room is not speech."""
    assert marks(noise(60.0, -38.0)) == []


def test_a_machine_is_switched_on() -> None:
    """a noise that starts suddenly ends as soon as nobody could have spoken so long, and is the new floor."""
    found = marks(bytes(48_000) + noise(30.0, -25.0))
    assert [type(mark) for mark in found] == [Started, Stopped]
    assert found[1].at_ms < 12_000


def test_click() -> None:
    """40 ms are too short for a word."""
    assert marks(bytes(48_000) + noise(0.04, -10.0) + bytes(48_000)) == []


def test_pause_within_a_turn() -> None:
    """a pause shorter than silence_duration_ms does not end the turn."""
    audio = voice(0.5) + bytes(48 * 480) + voice(0.5) + bytes(48_000)
    assert [type(mark) for mark in marks(audio)] == [Started, Stopped]


def test_silence_duration() -> None:
    """silence_duration_ms is how long it waits."""
    audio = voice(0.5) + bytes(48_000)
    assert marks(audio, Sensitivity(0.5, 200)) == [Started(0), Stopped(700)]


def test_threshold() -> None:
    """the higher the threshold, the louder one must speak."""
    audio = bytes(48_000) + voice(1.0, -38.0) + bytes(48_000)
    assert marks(audio, Sensitivity(0.3, 500))
    assert not marks(audio, Sensitivity(0.9, 500))


def test_g711() -> None:
    """telephone audio is heard at its own rate."""
    audio = convert(bytes(48_000) + voice(1.0) + bytes(48_000), PCM, PCMU)
    assert list(Vad(USUAL, PCMU).feed(audio)) == [Started(1000), Stopped(2500)]


def test_direct_current() -> None:
    """a microphone's constant offset is silence."""
    assert marks(np.full(48_000, 9_000, "<i2").tobytes()) == []


def test_restart() -> None:
    """after a restart it is quiet, and counts from the place it is told."""
    vad = Vad(USUAL, PCM)
    assert list(vad.feed(voice(0.5)))
    vad.restart(10_000.5)
    assert not vad.speaking
    assert list(vad.feed(bytes(48 * FRAME_MS) + voice(0.5))) == [Started(10_020.5)]


@given(st.lists(st.integers(1, 5_000), max_size=40))
def test_any_split(sizes: list[int]) -> None:
    """however the bytes are split on the way, the marks are the same."""
    audio = bytes(4_800) + voice(0.4) + bytes(30_000)
    vad, start = Vad(USUAL, PCM), 0
    found: list[Mark] = []
    for size in [*sizes, len(audio)]:
        found += vad.feed(audio[start : start + size])
        start += size
    assert found == marks(audio)
