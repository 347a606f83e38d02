from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.audio_buffer import LONGEST_MS, AudioBuffer
from simulator.audio_format import PCM, PCMA, PCMU, AudioFormat, convert, decode
from simulator.errors import CommitEmpty, InvalidValue


@pytest.mark.parametrize("telephone", [PCMU, PCMA])
def test_every_code_survives(telephone: AudioFormat) -> None:
    """each G.711 code, expanded and compressed again, is the same sound."""
    codes = bytes(range(256))
    there_and_back = convert(convert(codes, telephone, PCM), PCM, telephone)
    assert decode(there_and_back, telephone).tolist() == decode(codes, telephone).tolist()


def test_known_codes() -> None:
    """the ends of the G.711 tables are where the recommendation has them."""
    assert decode(bytes([0x00, 0x80, 0xFF]), PCMU).tolist() == [-32124, 32124, 0]
    assert decode(bytes([0xD5, 0x55, 0xAA, 0x2A]), PCMA).tolist() == [8, -8, 32256, -32256]


@given(st.binary(max_size=200))
def test_same_format(audio: bytes) -> None:
    """nothing is touched when the format stays the same."""
    assert convert(audio, PCM, PCM) is audio


def test_resampling() -> None:
    """from 24 kHz to 8 kHz is a third of the samples, and back three times as many."""
    audio = np.arange(0, 9_000, 3, dtype="<i2").tobytes()
    assert len(convert(audio, PCM, PCMU)) == 1_000
    assert len(convert(convert(audio, PCM, PCMU), PCMU, PCM)) == 6_000


def test_odd_bytes() -> None:
    """half a sample at the end is not converted."""
    assert len(convert(bytes(601), PCM, PCMA)) == 100


def test_commit_below_the_minimum() -> None:
    """less than 100 ms is refused, with the milliseconds held, and stays."""
    buffer = AudioBuffer(PCM)
    buffer.append(bytes(48 * 99 + 24))
    with pytest.raises(CommitEmpty, match=r"99\.50ms"):
        buffer.take_all()
    buffer.append(bytes(24))
    assert len(buffer.take_all()) == 4_800


def test_clock() -> None:
    """the clock counts all audio, also what was committed and cleared."""
    buffer = AudioBuffer(PCM)
    buffer.append(bytes(9_600))
    buffer.take_all()
    buffer.append(bytes(4_800))
    buffer.clear()
    assert (buffer.start_ms, buffer.end_ms, buffer.held_ms) == (300, 300, 0)


def test_take_between() -> None:
    """what is taken leaves with all before it; what follows stays."""
    buffer = AudioBuffer(PCM)
    buffer.append(b"".join(bytes([second]) * 48_000 for second in range(3)))
    assert buffer.take(500, 1500) == bytes(24_000) + bytes([1]) * 24_000
    assert buffer.start_ms == 1500
    assert buffer.take(0, 3000) == bytes([1]) * 24_000 + bytes([2]) * 48_000


def test_half_a_sample() -> None:
    """a commit gives whole samples, and the next one begins with whole samples too."""
    buffer = AudioBuffer(PCM)
    buffer.append(bytes(4_801))
    assert len(buffer.take_all()) == 4_800
    buffer.append(b"\x01\x02" * 2_400)
    assert buffer.take_all() == b"\x01\x02" * 2_400


def test_nobody_commits() -> None:
    """the buffer has an end."""
    buffer = AudioBuffer(PCM)
    buffer.append(bytes(LONGEST_MS * 48))
    with pytest.raises(InvalidValue):
        buffer.append(bytes(1))
