"""How an endless WAV moves: a header that knows no length, then PCM16 mono in chunks, until the session is over."""

from __future__ import annotations

from gateway.transports.endless_audio import EndlessAudio
from gateway.wav import endless_header


class EndlessWav(EndlessAudio):
    """One client's WAV. One task writes."""

    def __init__(self, sample_rate: int, *, send_timeout_s: float, grace_s: float) -> None:
        """`sample_rate` in Hertz."""
        super().__init__("audio/wav", endless_header(sample_rate), send_timeout_s=send_timeout_s, grace_s=grace_s)
