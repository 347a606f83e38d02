"""PURE. What the model says, gathered into answers: its audio as it comes or whole, its text once, in the right order.

An answer is one upstream response. Its audio is handed on piece by piece, or, for clients that want it so, kept and given
as a whole when the response is done. Its text follows after its last audio. What an interruption voids is never given.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import msgspec

from streams import down

MAX_WHOLE_BYTES = 16 << 20
"""Of audio kept for one answer: almost six minutes. What would be more is given in several pieces, each complete."""

_REMEMBERED_VOID = 64
"""Interrupted items whose late audio is still known to be void."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A piece of audio, PCM16 mono, of the rate that is heard."""

    item: str
    audio: bytes


@dataclass(frozen=True, slots=True)
class SpokenPackets:
    """A piece of audio, coded."""

    item: str
    part: int
    audio: bytes
    packets: down.Packets
    """`down.Tail` where the part ends with it"""


@dataclass(frozen=True, slots=True)
class SpokenWhole:
    """The whole audio of an answer, PCM16 mono, of the rate that is heard."""

    item: str | None
    """None when several items are in it"""
    audio: bytes


@dataclass(frozen=True, slots=True)
class Written:
    """The text of an answer; empty when the model gave audio only."""

    text: str


@dataclass(frozen=True, slots=True)
class AnswerFailed:
    """There is no answer, or not all of it; a sentence for the person."""

    sentence: str


Gathered = Spoken | SpokenPackets | SpokenWhole | Written | AnswerFailed


class _TextDone(msgspec.Struct):
    """`response.output_audio_transcript.done` or `response.output_text.done`."""

    response_id: str
    transcript: str = ""
    text: str = ""


class _Error(msgspec.Struct):
    message: str | None = None


class StatusDetails(msgspec.Struct):
    """Why a response has no answer, or not all of it."""

    reason: str | None = None
    error: _Error | None = None

    def sentence(self) -> str:
        cause = (self.error and self.error.message) or self.reason
        return f"The model could not answer: {cause}" if cause else "The model could not answer."


class _Response(msgspec.Struct):
    id: str
    status: str
    status_details: StatusDetails | None = None


class _ResponseDone(msgspec.Struct):
    response: _Response


_text_done = msgspec.json.Decoder(_TextDone)
_response_done = msgspec.json.Decoder(_ResponseDone)


@dataclass(slots=True)
class _Answer:
    """One that is not done yet."""

    whole: bool
    kept: dict[str, bytearray] = field(default_factory=dict)
    """audio by item, in the order in which the items began"""
    kept_bytes: int = 0
    given: bool = False
    """whether any of its audio was given"""
    texts: list[str] = field(default_factory=list)

    def take(self) -> list[Gathered]:
        """What was kept, as one piece."""
        kept, self.kept, self.kept_bytes = self.kept, {}, 0
        audio = b"".join(kept.values())
        if not audio:
            return []
        self.given = True
        return [SpokenWhole(next(iter(kept)) if len(kept) == 1 else None, audio)]

    def written(self) -> Written:
        return Written(" ".join(self.texts))


class Answers:
    """Feed it what `down` says, in order; it gives what the client is to get.

    `whole`: give each answer's audio as a whole. It may be changed at any time and counts for the answers that begin later.
    """

    def __init__(self, *, whole: bool = False) -> None:
        self.whole = whole
        self._open: dict[str, _Answer] = {}
        self._void: deque[str] = deque(maxlen=_REMEMBERED_VOID)

    @property
    def is_idle(self) -> bool:
        """Whether no answer has begun and is not done."""
        return not self._open

    @property
    def holds_back(self) -> bool:
        """Whether something of an answer was heard that the client has not been given: audio for a WAV."""
        return any(answer.kept_bytes for answer in self._open.values())

    def hear(self, message: down.DownMessage) -> list[Gathered]:
        """Raises msgspec.ValidationError for an event of the model's that does not read as what its type says."""
        if isinstance(message, down.ServerEvent) and message.tail:
            ends = [gathered for tail, audio in message.ends() for gathered in self._hear_end(tail, audio)]
            return ends + self.hear(msgspec.structs.replace(message, tail=None, tails=None))
        match message:
            case down.Audio(response=response, item=item, audio=audio) if item not in self._void:
                return self._hear_audio(self._answer(response), item, audio)
            case down.Coded(response=response, item=item, packets=packets) if item not in self._void:
                return self._hear_packets(self._answer(response), item, message.part, message.audio, packets)
            case down.ServerEvent("response.output_audio_transcript.done" | "response.output_text.done", body):
                done = _text_done.decode(body)
                if text := done.transcript or done.text:
                    self._answer(done.response_id).texts.append(text)
            case down.ServerEvent("response.done", body):
                return self._finish(_response_done.decode(body).response)
            case down.Interrupted(item=item):
                self._interrupt(item)
            case down.EpochTaken() | down.Ended():
                return self._break_off()
        return []

    def _answer(self, response: str) -> _Answer:
        return self._open.setdefault(response, _Answer(self.whole))

    def _hear_audio(self, answer: _Answer, item: str, audio: bytes) -> list[Gathered]:
        if not answer.whole:
            answer.given = True
            return [Spoken(item, audio)]
        full = answer.take() if answer.kept_bytes + len(audio) > MAX_WHOLE_BYTES else []
        answer.kept.setdefault(item, bytearray()).extend(audio)
        answer.kept_bytes += len(audio)
        return full

    def _hear_packets(self, answer: _Answer, item: str, part: int, audio: bytes, packets: down.Packets) -> list[Gathered]:
        """Packets are never kept: a container for all of them can be sent as it comes."""
        answer.given = True
        return [SpokenPackets(item, part, audio, packets)] if packets.sizes else []

    def _hear_end(self, tail: down.Tail, audio: bytes) -> list[Gathered]:
        if tail.item in self._void:
            return []
        answer = self._answer(tail.response)
        if not tail.samples:
            return self._hear_audio(answer, tail.item, audio)
        return self._hear_packets(answer, tail.item, tail.part, audio, tail)

    def _interrupt(self, item: str) -> None:
        self._void.append(item)
        for answer in self._open.values():
            answer.kept_bytes -= len(answer.kept.pop(item, b""))

    def _finish(self, response: _Response) -> list[Gathered]:
        """A response without audio and text (a tool call, one cancelled before its first sound) is no answer."""
        answer = self._open.pop(response.id, None) or _Answer(self.whole)
        gathered = answer.take()
        if response.status == "failed":
            gathered.append(AnswerFailed((response.status_details or StatusDetails()).sentence()))
        if answer.given or answer.texts:
            gathered.append(answer.written())
        return gathered

    def _break_off(self) -> list[Gathered]:
        """No `response.done` will come for what is open: another bridge has taken over, or the session has ended."""
        broken, self._open = self._open, {}
        gathered: list[Gathered] = []
        for answer in broken.values():
            gathered += answer.take()
            if answer.texts:
                gathered.append(answer.written())
        return gathered
