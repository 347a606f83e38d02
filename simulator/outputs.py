"""PURE. The output items of a response, each as the events that open it, fill it and close it.

    opening ─▶ deltas (with pauses between) ─▶ closing

An interruption leaves `deltas` where it stands and goes on with `closing`, which tells what was produced until then.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from simulator import usage
from simulator.answers import Call, Output, Speech
from simulator.audio_format import AudioFormat, convert
from simulator.ids import Ids
from simulator.items import Item, Sound
from simulator.usage import Tokens
from simulator.wire import Object, audio_text

_WORD = re.compile(r"\S+\s*|\s+")
_WORDS_A_SECOND = 50
"""Of written answers, at speed 1."""
_AHEAD = 2 / 3
"""The transcript is complete when this part of the audio was sent."""


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


Step: TypeAlias = "Object | Pause"


@dataclass(frozen=True, slots=True)
class Pace:
    delta_ms: int
    speed: float
    """times real time; 0 knows no pauses"""
    odd: bool = False

    def after(self, seconds: float) -> Iterator[Pause]:
        if self.speed:
            yield Pause(seconds / self.speed)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the response an item stands."""

    response_id: str
    output_index: int
    item_id: str

    def event(self, kind: str, **fields: str) -> Object:
        return {
            "type": f"response.{kind}",
            "response_id": self.response_id,
            "item_id": self.item_id,
            "output_index": self.output_index,
            **fields,
        }

    def part_event(self, kind: str, **fields: str) -> Object:
        return {**self.event(kind, **fields), "content_index": 0}


class OutputItem(Protocol):
    item: Item

    def opening(self) -> Iterator[Object]: ...
    def deltas(self) -> Iterator[Step]: ...
    def closing(self) -> Iterator[Object]: ...
    def tokens(self) -> Tokens: ...


@dataclass(frozen=True, slots=True)
class Studio:
    """What an output item needs to become events."""

    ids: Ids
    pace: Pace
    format: AudioFormat
    modality: str

    def item(self, output: Output, response_id: str, index: int) -> OutputItem:
        place = Place(response_id, index, self.ids.new("item"))
        match output:
            case Call():
                return CalledFunction(self, place, output)
            case Speech() if self.modality == "text":
                return Written(self, place, output.transcript)
            case Speech():
                return Spoken(self, place, output)


class Spoken:
    """A message in audio, with its transcript running ahead."""

    def __init__(self, studio: Studio, place: Place, speech: Speech) -> None:
        self._studio, self._place = studio, place
        self._speech = speech
        self._said: list[str] = []
        self.sound = Sound(studio.format)
        self.item = Item(_message(place.item_id), self.sound)

    def opening(self) -> Iterator[Object]:
        self.item.body["content"] = [{"type": "output_audio", "transcript": ""}]
        yield {**self._place.part_event("content_part.added"), "part": {"type": "audio", "transcript": ""}}

    def deltas(self) -> Iterator[Step]:
        pace, format_ = self._studio.pace, self._studio.format
        audio = convert(self._speech.audio, self._speech.format, format_)
        chunks = list(_cut(audio, pace.delta_ms * format_.bytes_per_ms | pace.odd))
        for index, words in enumerate(_spread(_WORD.findall(self._speech.transcript), len(chunks))):
            for word in words:
                yield self._word(word)
            if index < len(chunks):
                yield from pace.after(pace.delta_ms / 1000) if index else ()
                self.sound.add(chunks[index])
                yield self._place.part_event("output_audio.delta", delta=audio_text(chunks[index]))

    def closing(self) -> Iterator[Object]:
        transcript = "".join(self._said)
        for part in self.item.parts:
            if "transcript" in part:  # it is gone when the client truncated the item meanwhile
                part["transcript"] = transcript
        yield self._place.part_event("output_audio.done")
        yield self._place.part_event("output_audio_transcript.done", transcript=transcript)
        part = {"type": "audio", "transcript": transcript}
        yield {**self._place.part_event("content_part.done"), "part": {**part}}

    def tokens(self) -> Tokens:
        return usage.of_text("".join(self._said)) + usage.of_assistant_audio(self.sound.ms)

    def _word(self, word: str) -> Object:
        self._said.append(word)
        return self._place.part_event(
            "output_audio_transcript.delta", delta=word, obfuscation=self._studio.ids.obfuscation()
        )


class Live(Spoken):
    """A message that has no end: `heard` makes a delta of each append."""

    def __init__(self, studio: Studio, place: Place) -> None:
        super().__init__(studio, place, Speech(""))

    def deltas(self) -> Iterator[Step]:
        yield Pause(math.inf)

    def heard(self, payload: str, audio: bytes, source: AudioFormat) -> Object:
        """The base64 text of the append goes out as it came in, unless the answer has another format."""
        if source is not self.sound.format:
            audio = convert(audio, source, self.sound.format)
            payload = audio_text(audio)
        self.sound.grow(len(audio))
        return self._place.part_event("output_audio.delta", delta=payload)


class Written:
    """A message in text."""

    def __init__(self, studio: Studio, place: Place, text: str) -> None:
        self._studio, self._place = studio, place
        self._text = text
        self._written: list[str] = []
        self.item = Item(_message(place.item_id))

    def opening(self) -> Iterator[Object]:
        self.item.body["content"] = [{"type": "output_text", "text": ""}]
        yield {**self._place.part_event("content_part.added"), "part": {"type": "text", "text": ""}}

    def deltas(self) -> Iterator[Step]:
        for index, word in enumerate(_WORD.findall(self._text)):
            yield from self._studio.pace.after(1 / _WORDS_A_SECOND) if index else ()
            self._written.append(word)
            yield self._place.part_event("output_text.delta", delta=word, obfuscation=self._studio.ids.obfuscation())

    def closing(self) -> Iterator[Object]:
        text = "".join(self._written)
        self.item.body["content"] = [{"type": "output_text", "text": text}]
        yield self._place.part_event("output_text.done", text=text)
        yield {**self._place.part_event("content_part.done"), "part": {"type": "text", "text": text}}

    def tokens(self) -> Tokens:
        return usage.of_text("".join(self._written))


class CalledFunction:
    """A function call, its arguments in pieces."""

    def __init__(self, studio: Studio, place: Place, call: Call) -> None:
        self._studio, self._place, self._call = studio, place, call
        self._call_id = studio.ids.call()
        self._arguments: list[str] = []
        self.item = Item(
            {
                "id": place.item_id,
                "object": "realtime.item",
                "type": "function_call",
                "status": "in_progress",
                "name": call.name,
                "call_id": self._call_id,
                "arguments": "",
            }
        )

    def opening(self) -> Iterator[Object]:
        return iter(())

    def deltas(self) -> Iterator[Step]:
        for index, piece in enumerate(re.findall(r".{1,8}", self._call.arguments, re.DOTALL)):
            yield from self._studio.pace.after(1 / _WORDS_A_SECOND) if index else ()
            self._arguments.append(piece)
            yield self._place.event(
                "function_call_arguments.delta",
                call_id=self._call_id,
                delta=piece,
                obfuscation=self._studio.ids.obfuscation(),
            )

    def closing(self) -> Iterator[Object]:
        arguments = "".join(self._arguments)
        self.item.body["arguments"] = arguments
        yield self._place.event(
            "function_call_arguments.done", call_id=self._call_id, name=self._call.name, arguments=arguments
        )

    def tokens(self) -> Tokens:
        return usage.of_text("".join(self._arguments))


def _message(item_id: str) -> Object:
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": "in_progress",
        "role": "assistant",
        "content": [],
    }


def _cut(audio: bytes, size: int) -> Iterable[bytes]:
    return (audio[start : start + size] for start in range(0, len(audio), size))


def _spread(words: list[str], chunks: int) -> Iterator[list[str]]:
    """Which words go before which chunk of audio, so that the last word is out when _AHEAD of the audio is."""
    groups = max(1, math.ceil(chunks * _AHEAD))
    for index in range(max(chunks, 1)):
        yield words[math.ceil(index * len(words) / groups) : math.ceil((index + 1) * len(words) / groups)]
