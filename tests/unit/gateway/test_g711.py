"""G.711 as everybody else has it."""

from __future__ import annotations

import av
import numpy as np
import pytest
from av.audio.codeccontext import AudioCodecContext

from gateway.g711 import Law, encode


@pytest.mark.parametrize(("law", "codec"), [("pcmu", "pcm_mulaw"), ("pcma", "pcm_alaw")])
def test_every_sample_comes_back_as_near_as_the_law_allows(law: Law, codec: str) -> None:
    """By FFmpeg's decoder."""
    samples = np.arange(-32_768, 32_768, dtype="<i2")
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.sample_rate, decoder.layout = 8_000, "mono"
    (frame,) = decoder.decode(av.Packet(encode(samples.tobytes(), law)))
    heard = frame.to_ndarray().reshape(-1).astype(int)
    every = np.unique(heard)
    assert len(every) in (255, 256), "of µ-law two codes are zero"
    wanted = samples.astype(int)
    step = np.maximum(np.abs(wanted) >> 4, 16)
    assert (np.abs(heard - wanted) <= step).all()
    assert (np.diff(heard) >= 0).all(), "louder is louder"
    assert np.abs(heard - wanted).max() <= 1_024
