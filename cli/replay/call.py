"""A recorded call, as it lies in its two files: left the user, right the model, and the log of what happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import av
import msgspec
import numpy as np
from av import AudioResampler
from numpy.typing import NDArray

from cli.errors import ReplayError

RATE = 24_000

Samples = NDArray[np.int16]


class Event(msgspec.Struct):
    ms: int
    type: str
    item: str = ""
    for_ms: int = 0
    event: dict[str, object] = {}


@dataclass
class Said:
    """What a call came to, then or now."""

    answers: list[Samples] = field(default_factory=list)
    """the sound of each answer, as far as it was heard"""
    user_words: list[str] = field(default_factory=list)
    model_words: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Call:
    user: Samples
    then: Said
    has_log: bool

    @property
    def seconds(self) -> float:
        return len(self.user) / RATE


def read_call(audio: Path, log: Path | None) -> Call:
    """`log`: None for the one beside it, if there is one. Raises ReplayError."""
    both = _stereo(audio)
    beside = audio.with_name("events.jsonl")
    log = log or (beside if beside.exists() else None)
    events = [] if log is None else _events(log)
    return Call(both[:, 0].copy(), _said(both[:, 1], events), bool(events))


def _stereo(path: Path) -> Samples:
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio or container.streams.audio[0].channels != 2:
                raise ReplayError(
                    f"{path} is no recording of a call: it must have two channels, left the user, right the model."
                )
            resampler = AudioResampler(format="s16", layout="stereo", rate=RATE)
            frames = [frame for coded in container.decode(audio=0) for frame in resampler.resample(coded)]
            frames += resampler.resample(None)
    except (av.FFmpegError, OSError) as error:
        raise ReplayError(f"{path} cannot be read: {error}.") from None
    if not frames:
        raise ReplayError(f"{path} is empty.")
    return np.concatenate([frame.to_ndarray().reshape(-1, 2) for frame in frames])


def _events(path: Path) -> list[Event]:
    try:
        return [msgspec.json.decode(line, type=Event) for line in path.read_bytes().splitlines() if line]
    except (OSError, msgspec.MsgspecError) as error:
        raise ReplayError(f"{path} is not the log of a recording: {error}.") from None


def _said(model: Samples, events: list[Event]) -> Said:
    said, sounds = Said(), dict[str, list[Samples]]()
    for event in events:
        match event.type:
            case "model.audio":
                begin = event.ms * RATE // 1000
                sounds.setdefault(event.item, []).append(model[begin : begin + event.for_ms * RATE // 1000])
            case "conversation.item.input_audio_transcription.completed":
                said.user_words.append(str(event.event.get("transcript", "")))
            case "response.output_audio_transcript.done":
                said.model_words.append(str(event.event.get("transcript", "")))
            case _:
                pass
    said.answers = [np.concatenate(parts) for parts in sounds.values()] if events else _parts(model)
    return said


def _parts(channel: Samples) -> list[Samples]:
    return [channel[begin:end] for begin, end in loud(channel)]


def loud(channel: Samples, *, pause_s: float = 0.6) -> list[tuple[int, int]]:
    """Where somebody speaks, from the first sample to the last, with no pause in it that is longer."""
    frame = RATE // 50
    frames = channel[: len(channel) // frame * frame].reshape(-1, frame).astype(np.float64)
    speaks = np.flatnonzero(np.sqrt((frames**2).mean(axis=1)) > 150)  # -47 dB: a quiet room is below it
    if not len(speaks):
        return []
    breaks = np.flatnonzero(np.diff(speaks) > pause_s * 50)
    begins, ends = speaks[np.r_[0, breaks + 1]], speaks[np.r_[breaks, len(speaks) - 1]] + 1
    return [(int(begin) * frame, int(end) * frame) for begin, end in zip(begins, ends, strict=True)]
