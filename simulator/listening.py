"""PURE. From appended audio to turns: the input buffer, and the voice activity detector that watches it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from simulator.audio_buffer import AudioBuffer
from simulator.audio_format import AudioFormat
from simulator.ids import Ids
from simulator.session_config import SessionConfig, TurnDetection
from simulator.vad import Sensitivity, Started, Vad

KEPT_MS = 30_000
"""Where nobody need commit, what came before a turn is kept so long, for a client that commits by hand nevertheless."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    item_id: str
    """of the item that the turn will become"""
    audio_start_ms: float
    """with the padding before it"""


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    item_id: str
    audio_end_ms: float
    """with the silence that ended it"""
    audio: bytes


Turn: TypeAlias = SpeechStarted | SpeechStopped


class Listener:
    def __init__(self, ids: Ids, config: SessionConfig, *, is_live: bool) -> None:
        """A live echo has no turns."""
        self._ids = ids
        self._is_live = is_live
        self._buffer = AudioBuffer(config.input_format)
        self._prefix_padding_ms = 0
        self._vad: Vad | None = None
        self._speech: SpeechStarted | None = None
        """the turn going on"""
        self.configure(config)

    @property
    def format(self) -> AudioFormat:
        return self._buffer.format

    @property
    def clock_ms(self) -> float:
        """How much audio has come."""
        return self._buffer.end_ms

    def configure(self, config: SessionConfig) -> None:
        """Follow the session's settings."""
        if config.input_format is not self._buffer.format:
            self._buffer = AudioBuffer(config.input_format, self._buffer.end_ms)
            self._vad = self._speech = None
        detection: TurnDetection | None = None if self._is_live else config.view.audio.input.turn_detection
        if detection is None:
            self._vad = self._speech = None
            return
        self._prefix_padding_ms = detection.prefix_padding_ms
        sensitivity = Sensitivity(detection.threshold, detection.silence_ms)
        if self._vad is None:
            self._vad = Vad(sensitivity, self._buffer.format, self._buffer.end_ms)
        self._vad.sensitivity = sensitivity

    def append(self, audio: bytes) -> Iterator[Turn]:
        """The turns that begin and end in this audio; to be used up. Raises InvalidValue when the buffer is full."""
        self._buffer.append(audio)
        for mark in self._vad.feed(audio) if self._vad is not None else ():
            if isinstance(mark, Started):
                padded_ms = mark.at_ms - self._prefix_padding_ms
                self._speech = SpeechStarted(self._ids.new("item"), max(padded_ms, self._buffer.start_ms))
                yield self._speech
            elif self._speech is not None:
                speech, self._speech = self._speech, None
                spoken = self._buffer.take(speech.audio_start_ms, mark.at_ms)
                yield SpeechStopped(speech.item_id, mark.at_ms, spoken)
        if self._speech is None and (self._vad is not None or self._is_live):
            self._buffer.keep_last(KEPT_MS)

    def commit(self) -> tuple[str, bytes]:
        """Item id and audio of the turn that ends here, by the client's word. Raises CommitEmpty."""
        if self._speech is None:
            item_id, audio = self._ids.new("item"), self._buffer.take_all()
        else:
            item_id, audio = self._speech.item_id, self._buffer.take_all(self._speech.audio_start_ms)
        self._forget_turn()
        return item_id, audio

    def clear(self) -> None:
        self._buffer.clear()
        self._forget_turn()

    def _forget_turn(self) -> None:
        self._speech = None
        if self._vad is not None:
            self._vad.restart(self._buffer.end_ms)
