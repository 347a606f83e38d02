"""The header that players read."""

from __future__ import annotations

import io
import wave

import pytest

from gateway.wav import HEADER_BYTES, endless_header, wav


@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_a_player_reads_what_was_written(rate: int) -> None:
    written = wav(b"\x01\x02\x03\x04", rate)
    assert len(written) == HEADER_BYTES + 4
    with wave.open(io.BytesIO(written)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, rate)
        assert file.readframes(10) == b"\x01\x02\x03\x04"


@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_an_endless_one_is_the_same_but_for_its_sizes(rate: int) -> None:
    header, finite = endless_header(rate), wav(b"", rate)
    assert len(header) == HEADER_BYTES
    assert header == finite[:4] + b"\xff\xff\xff\xff" + finite[8:40] + b"\xff\xff\xff\xff"
