"""PURE. What the simulator answers: decided from what was heard, before a word of it is sent.

An `Answer` is a policy, chosen by the `--answer` option. Asked with a `Question`, it returns the outputs of the response.
Sounds are PCM at 24 kHz, or in the format of the utterance when they are the utterance itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from simulator import voice
from simulator.audio_format import PCM, AudioFormat


@dataclass(frozen=True, slots=True)
class Utterance:
    """What the user said last, and has no answer yet."""

    audio: bytes
    format: AudioFormat

    @property
    def seconds(self) -> float:
        return self.format.ms(len(self.audio)) / 1000

    @property
    def length(self) -> str:
        """So that a client can prove what went through."""
        return f"{self.seconds:.3f} seconds ({len(self.audio) // self.format.sample_bytes} samples)"


@dataclass(frozen=True, slots=True)
class Question:
    utterance: Utterance | None
    """None when nothing was said since the last answer"""
    may_call: bool = True
    """False when the client chose no tools"""
    told: tuple[str, ...] = ()
    """outputs of functions since the assistant said something"""
    waits: bool = False
    """a call has no output yet"""
    session: str = ""
    """the id of the session that is asked"""
    before: Utterance | None = None
    """where nothing was said since: the latest of all that was, which has its answer"""


@dataclass(frozen=True, slots=True)
class Speech:
    transcript: str
    audio: bytes = b""
    format: AudioFormat = PCM


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: str
    """JSON"""


Output: TypeAlias = Speech | Call
"""One output item of a response."""


class Answer(Protocol):
    def outputs(self, question: Question) -> tuple[Output, ...]: ...


@dataclass(frozen=True, slots=True)
class Echo:
    """The utterance, sample for sample; without one, a sentence of its own."""

    live: bool = False
    """answer every append at once, without waiting for a turn"""

    def outputs(self, question: Question) -> tuple[Output, ...]:
        heard = question.utterance
        if heard is None or not heard.audio:
            return (Speech(voice.SENTENCE, voice.hello()),)
        return (Speech(f"I heard {heard.length}.", heard.audio, heard.format),)


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always the same."""

    speech: Speech

    def outputs(self, question: Question) -> tuple[Output, ...]:
        return (self.speech,)


@dataclass(frozen=True, slots=True)
class Retell:
    """The outputs of functions, word for word; without any, an echo."""

    def outputs(self, question: Question) -> tuple[Output, ...]:
        if not question.told:
            return Echo().outputs(question)
        return (Speech(f"I was told {' and '.join(question.told)}.", voice.hello()),)


@dataclass(frozen=True, slots=True)
class CallFirst:
    """Functions are called, all in one response; what comes then, until somebody speaks anew, `then` answers."""

    calls: tuple[Call, ...]
    then: Answer = Echo()
    before: Speech | None = None
    """said in the same response, in front of the calls"""

    def outputs(self, question: Question) -> tuple[Output, ...]:
        if not question.may_call or question.told or question.waits:
            return self.then.outputs(question)
        return self.calls if self.before is None else (self.before, *self.calls)


def recording(samples: bytes) -> Fixed:
    return Fixed(Speech(f"A recording of {Utterance(samples, PCM).length}.", samples))


def tone(hertz: float, seconds: float) -> Fixed:
    """A sine at half of full scale."""
    times = np.arange(round(seconds * PCM.sample_rate)) / PCM.sample_rate
    samples = (np.sin(2 * np.pi * hertz * times) * 16_384).astype("<i2").tobytes()
    return Fixed(Speech(f"A tone of {hertz:g} Hz for {seconds:g} seconds.", samples))


def words(transcript: str) -> Fixed:
    """These words; the sound under them is the simulator's own sentence."""
    return Fixed(Speech(transcript, voice.hello()))
