"""PURE. The words of the watch door: what the phone may say, and what both are told.

The watch and the phone are told the same things. To the watch each is an event with one line of data, mostly bare text; to
the phone it is one JSON object.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
import pybase64

from gateway.doors.watch_address import History, checked, history
from gateway.errors import InvalidAudio, InvalidMessage
from gateway.output import DEFAULT, BitRate, FrameMs, LiveFormat, Output, OutputRate
from gateway.typed_json import Reader

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
        checked(said.conversationId)
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
