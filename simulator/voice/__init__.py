"""The simulator's own voice, and other recordings: mono 16-bit PCM at 24 kHz, read once."""

from __future__ import annotations

import wave
from functools import cache
from pathlib import Path

SENTENCE = "Hello, this is the Parley simulator. There is no model behind me."
"""What `hello.wav` says."""


class UnsuitableRecording(ValueError):
    """The file is not mono 16-bit PCM at 24 kHz."""


@cache
def hello() -> bytes:
    """The samples of SENTENCE."""
    return load(Path(__file__).with_name("hello.wav"))


def load(path: Path) -> bytes:
    """The samples of a WAV file. Raises UnsuitableRecording, or OSError when it cannot be read."""
    try:
        with wave.open(str(path), "rb") as recording:
            shape = (recording.getnchannels(), recording.getsampwidth(), recording.getframerate())
            if shape != (1, 2, 24_000):
                raise UnsuitableRecording(
                    f"{path} has {shape[0]} channels of {8 * shape[1]} bits at {shape[2]} Hz; it needs 1 of 16 at 24000."
                )
            return recording.readframes(recording.getnframes())
    except (wave.Error, EOFError) as error:
        raise UnsuitableRecording(f"{path} is no WAV file: {error}") from error
