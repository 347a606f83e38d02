"""The header that players read."""

from __future__ import annotations

import io
import wave

import pytest

from gateway.wav import HEADER_BYTES, wav


@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_a_player_reads_what_was_written(rate: int) -> None:
    written = wav(b"\x01\x02\x03\x04", rate)
    assert len(written) == HEADER_BYTES + 4
    with wave.open(io.BytesIO(written)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, rate)
        assert file.readframes(10) == b"\x01\x02\x03\x04"
