"""PURE. The session object: how it begins, how `session.update` merges into it, and what may not change any more.

The effective session is kept as the JSON that `session.created` and `session.updated` show; `SessionConfig.view` is the
same, typed, for those who act on it. A refused update changes nothing, for an update makes a new SessionConfig.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import msgspec

from simulator import audio_format
from simulator.audio_format import AudioFormat
from simulator.errors import CannotUpdateVoice, InvalidValue
from simulator.session_shapes import SESSION
from simulator.wire import Json, Object, member

_WITHOUT_REASONING = re.compile(r"gpt-realtime(-mini)?(-1\.5)?(-\d{4}-\d{2}-\d{2})?")
_SILENCE_MS = {"high": 500, "medium": 1000, "auto": 1000, "low": 2000}
"""Semantic turn detection without a model: the more eager, the less silence it waits for."""

SERVER_VAD: Object = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,  # as documented; 200 was also seen, so a client does well to set it
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
_SEMANTIC_VAD: Object = {
    "type": "semantic_vad",
    "eagerness": "auto",
    "create_response": True,
    "interrupt_response": True,
}
_DETECTORS = {"server_vad": SERVER_VAD, "semantic_vad": _SEMANTIC_VAD}
_MERGED = {("audio",), ("audio", "input"), ("audio", "output"), ("audio", "input", "transcription")}
"""Objects that keep what an update leaves out. All others are replaced whole, but turn_detection."""


class TurnDetection(msgspec.Struct, frozen=True):
    type: Literal["server_vad", "semantic_vad"]
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int | None = None
    idle_timeout_ms: int | None = None
    create_response: bool = True
    interrupt_response: bool = True
    eagerness: str = "auto"

    @property
    def silence_ms(self) -> int:
        return _SILENCE_MS[self.eagerness] if self.silence_duration_ms is None else self.silence_duration_ms


class Transcription(msgspec.Struct, frozen=True):
    model: str = "whisper-1"


class AudioInput(msgspec.Struct, frozen=True):
    format: dict[str, object]
    turn_detection: TurnDetection | None
    transcription: Transcription | None


class AudioOutput(msgspec.Struct, frozen=True):
    format: dict[str, object]
    voice: str | dict[str, object]


class Audio(msgspec.Struct, frozen=True):
    input: AudioInput
    output: AudioOutput


class SessionView(msgspec.Struct, frozen=True):
    """What the simulator acts on; the rest of the session is only remembered."""

    audio: Audio
    instructions: str


@dataclass(frozen=True)
class SessionConfig:
    wire: Object
    """the full effective session; never changed in place"""

    @classmethod
    def fresh(cls, session_id: str, model: str, expires_at: int) -> SessionConfig:
        """What a new session has before its first update: the server's defaults, with turn detection on."""
        pcm: Object = {"type": "audio/pcm", "rate": 24_000}
        return cls(
            {
                "type": "realtime",
                "object": "realtime.session",
                "id": session_id,
                "model": model,
                "expires_at": expires_at,
                "output_modalities": ["audio"],
                "instructions": "You are the Parley simulator. There is no model behind you.",
                "tools": [],
                "tool_choice": "auto",
                "max_output_tokens": "inf",
                "truncation": "auto",
                "tracing": None,
                "prompt": None,
                "include": None,
                "audio": {
                    "input": {
                        "format": pcm,
                        "noise_reduction": None,
                        "transcription": None,
                        "turn_detection": SERVER_VAD,
                    },
                    "output": {"format": pcm, "voice": "alloy", "speed": 1.0},
                },
            }
        )

    @cached_property
    def view(self) -> SessionView:
        return msgspec.convert(self.wire, SessionView)

    @cached_property
    def input_format(self) -> AudioFormat:
        return audio_format.from_wire(member(member(member(self.wire, "audio"), "input"), "format"))

    def updated(self, patch: Object, *, has_spoken: bool) -> SessionConfig:
        """This session with `patch` merged in. Raises Refused, and then nothing has changed.

        `has_spoken`: assistant audio exists, so that the voice stays as it is.
        """
        SESSION.check(patch, "session")
        check_modalities(patch, "session.output_modalities")
        self._check_immutable(patch)
        voice = member(member(patch, "audio"), "output").get("voice")
        check_voice(self, voice, "session.audio.output.voice", has_spoken=has_spoken)
        return SessionConfig(_merge(self.wire, patch, ()))

    def _check_immutable(self, patch: Object) -> None:
        model = self.wire["model"]
        if patch.get("model", model) != model:
            raise InvalidValue("The model of a session cannot be changed.", "session.model")
        if self.wire["tracing"] is not None and patch.get("tracing", self.wire["tracing"]) != self.wire["tracing"]:
            raise InvalidValue("Tracing cannot be changed once it is enabled.", "session.tracing")
        check_reasoning(self, patch, "session.reasoning")


def check_modalities(record: Object, path: str) -> None:
    modalities = record.get("output_modalities")
    if isinstance(modalities, list) and len(modalities) > 1:
        raise InvalidValue("Invalid modalities: supported combinations are: ['text'] and ['audio'].", path)


def check_voice(config: SessionConfig, voice: Json, path: str, *, has_spoken: bool) -> None:
    current = member(member(config.wire, "audio"), "output")["voice"]
    if has_spoken and voice is not None and voice != current:
        raise CannotUpdateVoice(path)


def check_reasoning(config: SessionConfig, record: Object, path: str) -> None:
    if record.get("reasoning") is not None and _WITHOUT_REASONING.fullmatch(str(config.wire["model"])):
        raise InvalidValue(f"The model '{config.wire['model']}' does not support reasoning.", path)


def _merge(old: Object, patch: Object, path: tuple[str, ...]) -> Object:
    merged = dict(old)
    for key, value in patch.items():
        here, current = (*path, key), old.get(key)
        if key == "turn_detection" and isinstance(value, dict):
            kept = current if isinstance(current, dict) and current["type"] == value["type"] else None
            merged[key] = {**(kept or _DETECTORS[str(value["type"])]), **value}
        elif here in _MERGED and isinstance(value, dict) and isinstance(current, dict):
            merged[key] = _merge(current, value, here)
        elif key == "format" and isinstance(value, dict) and value["type"] == "audio/pcm":
            merged[key] = {"type": "audio/pcm", "rate": 24_000}
        else:
            merged[key] = value
    return merged
