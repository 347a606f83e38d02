"""What others do with a whole file, where they are installed: `pydub`, and the `ffmpeg` command line."""

from __future__ import annotations

import importlib
import importlib.util
import io
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from transcoder.decoded import SAMPLE_RATE


def pydub() -> Any | None:
    """Its AudioSegment; None where it cannot be used."""
    if importlib.util.find_spec("pydub") is None or ffmpeg() is None:
        return None
    return importlib.import_module("pydub").AudioSegment


def ffmpeg() -> str | None:
    """Where it is."""
    return shutil.which("ffmpeg")


def pydub_decode(segment: Any, data: bytes, container: str) -> bytes:
    """As backends do it that use it: a subprocess for each file, or two where there is an ffprobe to ask what it is."""
    codec = None if shutil.which("ffprobe") else "aac"
    sound = segment.from_file(io.BytesIO(data), format=container, codec=codec)
    return bytes(sound.set_frame_rate(SAMPLE_RATE).set_channels(1).set_sample_width(2).raw_data)


def ffmpeg_decode(program: str, data: bytes) -> bytes:
    """An M4A cannot be read from a pipe: its index may stand at its end."""
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        command = [program, "-v", "error", "-i", file.name, "-f", "s16le", "-ac", "1", "-ar", str(SAMPLE_RATE), "-"]
        return subprocess.run(command, capture_output=True, check=True).stdout


def pydub_encode(segment: Any, pcm: bytes, codec: str) -> bytes:
    sound = segment(data=pcm, sample_width=2, frame_rate=SAMPLE_RATE, channels=1)
    container, encoder = ("ogg", "libopus") if codec == "opus" else ("adts", "aac")
    return bytes(sound.export(format=container, codec=encoder).read())


def ffmpeg_encode(program: str, pcm: bytes, codec: str) -> bytes:
    container, encoder = ("ogg", "libopus") if codec == "opus" else ("adts", "aac")
    source = ["-f", "s16le", "-ac", "1", "-ar", str(SAMPLE_RATE), "-i", "-"]
    command = [program, "-v", "error", *source, "-c:a", encoder, "-f", container, "-"]
    return subprocess.run(command, input=pcm, capture_output=True, check=True).stdout
