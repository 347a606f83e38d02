"""PURE. What a client of the watch door is told of what its session says."""

from __future__ import annotations

from collections import deque

import msgspec
import pybase64

from gateway.answers import StatusDetails
from gateway.doors.watch_messages import (
    AudioResponse,
    Error,
    Interrupted,
    Reconnecting,
    ResponseComplete,
    Resumed,
    SpeechStarted,
    SpeechStopped,
    ToClient,
    TranscriptComplete,
    TranscriptDelta,
    UserTranscript,
)
from gateway.output import DEFAULT, Output, Wrapping
from streams import down

_REMEMBERED_VOID = 64
"""Interrupted items whose late audio is still known to be void."""


class _Delta(msgspec.Struct):
    delta: str


class _Done(msgspec.Struct):
    """`….done` of a transcript or a text, and the user's own transcript."""

    transcript: str = ""
    text: str = ""


class _Output(msgspec.Struct):
    type: str = ""


class _Response(msgspec.Struct):
    status: str = ""
    status_details: StatusDetails | None = None
    output: list[_Output] = msgspec.field(default_factory=list)

    @property
    def only_calls_tools(self) -> bool:
        """Another one follows, with what the tools have answered."""
        return bool(self.output) and all(output.type == "function_call" for output in self.output)


class _ResponseDone(msgspec.Struct):
    response: _Response


_delta = msgspec.json.Decoder(_Delta)
_done = msgspec.json.Decoder(_Done)
_response_done = msgspec.json.Decoder(_ResponseDone)


class Sound:
    """What a client is told of the audio in a session's entries, in the format that it asked for. Feed it all of them."""

    def __init__(self, output: Output = DEFAULT) -> None:
        self.wrapping = Wrapping(output)
        self._void = deque[str](maxlen=_REMEMBERED_VOID)

    def told(self, message: down.DownMessage) -> list[tuple[AudioResponse, str]]:
        """And the item that each is audio of. It comes before the rest of what its entry says (`told`)."""
        match message:
            case down.Audio(item=item, audio=audio):
                return _audio(audio, item)
            case down.Coded(item=item, part=part, audio=audio, packets=packets):
                return self._wrapped(item, part, audio, packets)
            case down.ServerEvent():
                ends = [self._wrapped(tail.item, tail.part, audio, tail) for tail, audio in message.ends()]
                return [one for end in ends for one in end]
            case down.Interrupted(item=item):
                self._void.append(item)
        return []

    def _wrapped(self, item: str, part: int, audio: bytes, packets: down.Packets) -> list[tuple[AudioResponse, str]]:
        """Nothing of what is void, and nothing where there are no packets."""
        if item in self._void:
            return []
        data = self.wrapping.wrapped(item, part, audio, packets)
        return _audio(data, item) if data else []


def _audio(data: bytes, item: str) -> list[tuple[AudioResponse, str]]:
    return [(AudioResponse(pybase64.b64encode_as_string(data)), item)]


def told(message: down.DownMessage) -> list[ToClient]:
    """What a client is told of an entry but for its audio.

    Raises msgspec.DecodeError for an event that is not what its type says.
    """
    match message:
        case down.ServerEvent(type_, body):
            return _told_event(type_, body)
        case down.Failed(message=sentence) | down.Notice(message=sentence):
            return [Error(sentence)]
        case down.Interrupted(item=item, at_ms=at_ms):
            return [Interrupted(item, at_ms)]
        case down.Reconnecting():
            return [Reconnecting()]
        case down.Resumed():
            return [Resumed()]
        case down.Opened() | down.EpochTaken() | down.PersonaSet() | down.Ended() | down.Audio() | down.Coded():
            return []


def _told_event(type_: str, body: msgspec.Raw) -> list[ToClient]:
    match type_:
        case "input_audio_buffer.speech_started":
            return [SpeechStarted()]
        case "input_audio_buffer.speech_stopped":
            return [SpeechStopped()]
        case "response.output_audio_transcript.delta" | "response.output_text.delta":
            return [TranscriptDelta(_delta.decode(body).delta)]
        case "response.output_audio_transcript.done" | "response.output_text.done":
            done = _done.decode(body)
            return [TranscriptComplete(done.transcript or done.text)]
        case "conversation.item.input_audio_transcription.completed":
            text = _done.decode(body).transcript
            return [UserTranscript(text)] if text.strip() else []
        case "response.done":
            return _told_done(_response_done.decode(body).response)
        case _:
            return []


def _told_done(response: _Response) -> list[ToClient]:
    if response.status == "failed":
        return [Error((response.status_details or StatusDetails()).sentence()), ResponseComplete()]
    return [] if response.only_calls_tools else [ResponseComplete()]
