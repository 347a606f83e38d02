"""PURE. The words of the watch door: what the address and the phone may say, and what both are told.

The watch and the phone are told the same things. To the watch each is an event with one line of data, mostly bare text; to
the phone it is one JSON object.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec
import pybase64

from gateway.answers import StatusDetails
from gateway.errors import InvalidAudio, InvalidMessage
from gateway.output import DEFAULT, BitRate, FrameMs, LiveFormat, Output, OutputRate, Wrapping
from gateway.typed_json import Reader
from streams import down
from streams.ids import EntryId
from streams.turns import HistoryLine

MAX_CONVERSATION_CHARS = 256

MAX_HISTORY_LINES = 10

MAX_HISTORY_CHARS = 64 << 10
"""Of all lines together. Older ones that do not fit are left out."""

_REMEMBERED_VOID = 64
"""Interrupted items whose late audio is still known to be void."""


# ---- what the address says ------------------------------------------------------------------------------------------


def conversation(query: Mapping[str, str]) -> str:
    """The conversation that a request is about. Raises InvalidMessage."""
    named = query.get("conversationId", "")
    if not named.strip():
        raise InvalidMessage("The conversationId is missing: put ?conversationId=<id> into the address.")
    return _checked(named)


def _checked(named: str) -> str:
    try:
        named.encode()
    except UnicodeEncodeError:
        raise InvalidMessage("The conversationId is not UTF-8.") from None
    if len(named) > MAX_CONVERSATION_CHARS:
        raise InvalidMessage(f"The conversationId must have 1 to {MAX_CONVERSATION_CHARS} characters.")
    return named


@dataclass(frozen=True, slots=True)
class History:
    """What was said before, as the client tells it."""

    lines: tuple[HistoryLine, ...] = ()
    trouble: str | None = None
    """what of it could not be read, for the log; without its content"""


_BASE64 = str.maketrans("-_ ", "+/+")
"""Both alphabets, and the plus sign that an address turns into a space."""


def history_in_address(base64: str) -> History:
    """The field does not percent-encode it: a plus sign has become a space by now, and the padding may be missing."""
    if not base64:
        return History()
    plain = base64.translate(_BASE64).rstrip("=")
    try:
        text = pybase64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        return history(msgspec.json.decode(text))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return History(trouble=f"it is no base64 of JSON ({type(error).__name__})")


def history(told: object) -> History:
    """From a list of `{"role", "content"}`. What is no line is left out; of what is left, the last ten lines count."""
    if not isinstance(told, list):
        return History(trouble="it is no list")
    lines = [_line(one) for one in told]
    good = [line for line in lines if line is not None]
    kept: list[HistoryLine] = []
    room = MAX_HISTORY_CHARS
    for line in reversed(good[-MAX_HISTORY_LINES:]):
        room -= len(line.content)
        if room < 0:
            break
        kept.append(line)
    bad = len(lines) - len(good)
    return History(tuple(reversed(kept)), f"{bad} of its {len(lines)} lines are none" if bad else None)


def _line(told: object) -> HistoryLine | None:
    match told:
        case {"role": "user" | "assistant" as role, "content": str(content)} if content:
            return HistoryLine(role, content)
        case _:
            return None


_LAST_EVENT = re.compile(r"(?:([0-9a-f]{32})/)?([0-9]{1,18})-([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Heard:
    """Up to where a client has heard."""

    did: EntryId
    sid: str | None = None
    """of the session; None when the client does not say"""


def last_event(header: str | None) -> Heard | None:
    """What `Last-Event-ID` says. None for what cannot be read: the client goes on behind what is known to have arrived."""
    found = _LAST_EVENT.fullmatch((header or "").strip())
    if found is None:
        return None
    sid, epoch, number = found.groups()
    return Heard(EntryId(int(epoch), int(number)), sid)


def event_id_prefix(sid: str) -> str:
    """Stands before a `did` in the id of an event: a name is used again, and then another session has it."""
    return f"{sid}/"


# ---- what the phone says --------------------------------------------------------------------------------------------


class FromPhone(msgspec.Struct, frozen=True, tag_field="type"):
    """The base of what the phone may say."""


class StartConversation(FromPhone, frozen=True, tag="start_conversation"):
    conversationId: Annotated[str, msgspec.Meta(min_length=1)]  # noqa: N815 - the client's word
    conversationHistory: msgspec.Raw = msgspec.Raw(b"[]")  # noqa: N815
    audio_format: LiveFormat | None = None
    output_rate: OutputRate | None = None
    bitrate: BitRate | None = None
    frame_ms: FrameMs | None = None
    record: bool | None = None
    """whether the user agrees to be recorded"""

    @property
    def output(self) -> Output:
        """In what it is to be heard."""
        return DEFAULT.changed(self)

    @property
    def history(self) -> History:
        try:
            return history(msgspec.json.decode(self.conversationHistory))
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            return History(trouble=f"it is no JSON ({type(error).__name__})")


class AudioChunk(FromPhone, frozen=True, tag="audio_chunk"):
    data: str | None = None
    """base64 of PCM16 24 kHz mono"""
    audio: str | None = None
    """its name in some builds"""

    def bytes(self) -> bytes:
        """Raises InvalidAudio, InvalidMessage."""
        base64 = self.data if self.data is not None else self.audio
        if base64 is None:
            raise InvalidMessage(f"The audio_chunk carries no audio. Send {_LOOKS['audio_chunk']}.")
        try:
            return pybase64.b64decode(base64, validate=True)
        except ValueError:
            sentence = (
                "The audio is not base64: send PCM16 24 kHz mono in the standard alphabet, padded, without line breaks."
            )
            raise InvalidAudio(sentence) from None


class EndConversation(FromPhone, frozen=True, tag="end_conversation"):
    pass


class Ping(FromPhone, frozen=True, tag="ping"):
    pass


Said = StartConversation | AudioChunk | EndConversation | Ping

_LOOKS = {
    "start_conversation": (
        '{"type": "start_conversation", "conversationId": "<id>", "conversationHistory": […]}, and what you like of '
        '"audio_format": "pcm16" or "opus" or "aac", "output_rate": 8000 or 16000 or 24000 or 48000, '
        '"bitrate": 8000 to 128000, "frame_ms": 20 or 40 or 60, "record": true or false'
    ),
    "audio_chunk": '{"type": "audio_chunk", "data": "<PCM16 24 kHz mono, base64>"}, or binary frames',
    "end_conversation": '{"type": "end_conversation"}',
    "ping": '{"type": "ping"}',
}
NOT_STARTED = f"There is no conversation yet. Begin one with {_LOOKS['start_conversation']}."

_reader: Reader[Said] = Reader(msgspec.json.Decoder(Said), _LOOKS, example="end_conversation")


def decode(text: bytes) -> Said:
    """Read one text frame of the phone's. Raises InvalidMessage or UnknownType, which say what to send instead."""
    said = _reader.read(text)
    if isinstance(said, StartConversation):
        if not said.conversationId.strip():
            raise InvalidMessage(f"The conversationId is empty. Send {_LOOKS['start_conversation']}.")
        _checked(said.conversationId)
    return said


# ---- what both are told ---------------------------------------------------------------------------------------------


class ToClient(msgspec.Struct, frozen=True, tag_field="type"):
    """The base of what a client is told. The names of the fields are the phone's."""

    @property
    def line(self) -> str:
        """What the watch is told of it: one line."""
        return "{}"


class SessionCreated(ToClient, frozen=True, tag="session.created"):
    """To the phone only, which waits for it."""


class ConversationStarted(ToClient, frozen=True, tag="conversation_started"):
    conversationId: str  # noqa: N815

    @property
    def line(self) -> str:
        return _json({"conversationId": self.conversationId})


class SpeechStarted(ToClient, frozen=True, tag="speech_started"):
    pass


class SpeechStopped(ToClient, frozen=True, tag="speech_stopped"):
    pass


class AudioResponse(ToClient, frozen=True, tag="audio_response"):
    data: str
    """base64"""

    @property
    def line(self) -> str:
        return self.data


class TranscriptDelta(ToClient, frozen=True, tag="transcript_delta"):
    text: str

    @property
    def line(self) -> str:
        return one_line(self.text)


class TranscriptComplete(ToClient, frozen=True, tag="transcript_complete"):
    text: str

    @property
    def line(self) -> str:
        return one_line(self.text)


class UserTranscript(ToClient, frozen=True, tag="user_transcript"):
    """What the user has said. Ours; so are `interrupted`, `reconnecting`, `resumed` and `resync`."""

    text: str

    @property
    def line(self) -> str:
        return one_line(self.text)


class Interrupted(ToClient, frozen=True, tag="interrupted"):
    """The rest of this item is void."""

    item: str
    at_ms: int

    @property
    def line(self) -> str:
        return _json({"item": self.item, "at_ms": self.at_ms})


class Reconnecting(ToClient, frozen=True, tag="reconnecting"):
    """The line to the model broke; what is said meanwhile is kept."""


class Resumed(ToClient, frozen=True, tag="resumed"):
    """The conversation goes on."""


class ResponseComplete(ToClient, frozen=True, tag="response_complete"):
    pass


class ConversationEnded(ToClient, frozen=True, tag="conversation_ended"):
    pass


class Error(ToClient, frozen=True, tag="error"):
    message: str

    @property
    def line(self) -> str:
        return one_line(self.message)


class Resync(ToClient, frozen=True, tag="resync"):
    """What lies between is gone."""

    after: str
    begins: str = msgspec.field(name="from")

    @property
    def line(self) -> str:
        return _json({"after": self.after, "from": self.begins})


class Pong(ToClient, frozen=True, tag="pong"):
    pass


def kind(message: FromPhone | ToClient) -> str:
    """Its `type`."""
    return str(message.__struct_config__.tag)


def to_phone(message: ToClient, conversation: str | None) -> bytes:
    """As one JSON object, which names the conversation it is about."""
    fields: dict[str, object] = msgspec.to_builtins(message)
    about = {} if conversation is None else {"conversationId": conversation}
    return msgspec.json.encode({"type": fields.pop("type"), **about, **fields})


_BREAKS = re.compile(r"\r\n|\r|\n")


def one_line(text: str) -> str:
    """The text as one line of an event stream; all that would end the line is a space."""
    return _BREAKS.sub(" ", text)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


# ---- what the model says, in these words ----------------------------------------------------------------------------


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
        self._wrapping = Wrapping(output)
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
        data = self._wrapping.wrapped(item, part, audio, packets)
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
