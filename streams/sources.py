"""PURE. What a client's audio may be that goes to `up`: the `source` of a gen (`streams.up.GenOpened`).

| source | what follows |
|---|---|
| `files` | each entry a whole recording, which is looked at |
| `pcm16`, `pcm16 16000` | samples: s16 mono, 24 kHz or what is named |
| `stream` | the chunks of one recording, which is looked at: WebM, Ogg, fragmented MP4, ADTS, MP3 |
| `opus` | Opus packets, one an entry |
| `pcm_f32le 48000 2` | chunks of samples: one of `RAW`, hertz, channels (one if not named) |
"""

from __future__ import annotations

MIN_RATE, MAX_RATE = 8_000, 96_000
"""Hertz of raw samples."""

MAX_CHANNELS = 8

RAW = ("pcm_s16le", "pcm_f32le", "pcm_mulaw", "pcm_alaw")
"""libavcodec's names of the samples that may come raw."""


def is_chunked(source: str) -> bool:
    """Whether a gen with this source brings `streams.up.Chunk`s."""
    return source != "files" and source.partition(" ")[0] != "pcm16"


def read_chunked(text: str) -> str | None:
    """What a client says that its chunks are, as a source; None for what there is not."""
    name, *numbers = text.split() or [""]
    if name in ("stream", "opus") and not numbers:
        return name
    if name not in RAW or not 1 <= len(numbers) <= 2 or not all(_is_number(number) for number in numbers):
        return None
    rate, channels = int(numbers[0]), int(numbers[1]) if len(numbers) == 2 else 1
    return f"{name} {rate} {channels}" if MIN_RATE <= rate <= MAX_RATE and 1 <= channels <= MAX_CHANNELS else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 6
