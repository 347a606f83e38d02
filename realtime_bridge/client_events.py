"""PURE. What we say upstream, in the API's own names, and the values that go into it.

`output_audio_buffer.clear` is missing on purpose: it exists for WebRTC and SIP only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec
import pybase64

JsonObject: TypeAlias = dict[str, Any]
Modality = Literal["audio", "text"]


# ---- the events -----------------------------------------------------------------------------------------------------


class ClientEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """The base of all events. What is None is left out."""

    event_id: str | None = None
    """ours; an `error` names it when this event is to blame"""

    @property
    def type(self) -> str:
        """The event's name in the API."""
        return str(self.__struct_config__.tag)


class SessionUpdate(ClientEvent, frozen=True, tag="session.update"):
    """A merge: what is left out stays as it is. All or nothing, answered by `session.updated` or one `error`."""

    session: JsonObject


class InputAudioBufferAppend(ClientEvent, frozen=True, tag="input_audio_buffer.append"):
    """Never acknowledged. `append_frame` writes the same, faster."""

    audio: str
    """base64"""


class InputAudioBufferCommit(ClientEvent, frozen=True, tag="input_audio_buffer.commit"):
    """Makes a user item of at least 100 ms of audio; does not ask for a response."""


class InputAudioBufferClear(ClientEvent, frozen=True, tag="input_audio_buffer.clear"):
    pass


class ConversationItemCreate(ClientEvent, frozen=True, tag="conversation.item.create"):
    item: JsonObject
    previous_item_id: str | None = None
    """None: at the end; `root`: in front of all; else after that item"""


class ConversationItemTruncate(ClientEvent, frozen=True, tag="conversation.item.truncate"):
    item_id: str
    content_index: int
    audio_end_ms: int
    """milliseconds that were heard; not more than there were"""


class ConversationItemDelete(ClientEvent, frozen=True, tag="conversation.item.delete"):
    item_id: str


class ConversationItemRetrieve(ClientEvent, frozen=True, tag="conversation.item.retrieve"):
    item_id: str


class ResponseCreate(ClientEvent, frozen=True, tag="response.create"):
    response: JsonObject | None = None
    """settings of this response only; its `instructions` replace the session's, they do not add to them"""


class ResponseCancel(ClientEvent, frozen=True, tag="response.cancel"):
    response_id: str | None = None
    """None: whichever is active"""


AnyClientEvent: TypeAlias = (
    SessionUpdate
    | InputAudioBufferAppend
    | InputAudioBufferCommit
    | InputAudioBufferClear
    | ConversationItemCreate
    | ConversationItemTruncate
    | ConversationItemDelete
    | ConversationItemRetrieve
    | ResponseCreate
    | ResponseCancel
)


# ---- frames ---------------------------------------------------------------------------------------------------------

_encoder = msgspec.json.Encoder()


def encode(event: ClientEvent) -> str:
    """The event as the text of a frame."""
    return _encoder.encode(event).decode()


def append_frame(pcm: bytes) -> str:
    """An `input_audio_buffer.append` as the text of a frame. `pcm` is s16le mono at 24 kHz, whole samples."""
    return f'{{"type":"input_audio_buffer.append","audio":"{pybase64.b64encode_as_string(pcm)}"}}'


# ---- the session ----------------------------------------------------------------------------------------------------


class ServerVad(msgspec.Struct, frozen=True, tag_field="type", tag="server_vad", forbid_unknown_fields=True):
    """Turns end where it has been quiet for long enough.

    Every number is always sent: the documented default of `silence_duration_ms` is 500, a live server said 200.
    """

    threshold: float = 0.5
    """0 to 1; higher for loud surroundings"""
    prefix_padding_ms: int = 300
    """audio kept from before speech began"""
    silence_duration_ms: int = 500
    """quiet that ends a turn"""
    create_response: bool = True
    """answer when a turn ends"""
    interrupt_response: bool = True
    """stop answering when the user speaks"""


class SemanticVad(msgspec.Struct, frozen=True, tag_field="type", tag="semantic_vad", forbid_unknown_fields=True):
    """Turns end where what was said sounds finished."""

    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    """waits up to 8, 4 or 2 seconds; auto is medium"""
    create_response: bool = True
    interrupt_response: bool = True


TurnDetection: TypeAlias = ServerVad | SemanticVad


def session_config(
    *,
    instructions: str,
    voice: str,
    turn_detection: TurnDetection | None,
    transcription_model: str | None,
    output_modality: Modality = "audio",
    noise_reduction: Literal["near_field", "far_field"] | None = None,
    tools: Sequence[JsonObject] = (),
    tool_choice: str | JsonObject = "auto",
) -> JsonObject:
    """A full `session` for `session.update`, so that no server's default decides anything.

    `turn_detection` None is push-to-talk, `transcription_model` None is no captions of what the user says.
    Left out are what cannot change (`model`, `tracing`), what some models refuse (`reasoning`), and `speed`, which may
    only change between responses.
    """
    pcm = {"type": "audio/pcm", "rate": 24_000}
    return {
        "type": "realtime",
        "output_modalities": [output_modality],
        "instructions": instructions,
        "audio": {
            "input": {
                "format": pcm,
                "noise_reduction": {"type": noise_reduction} if noise_reduction else None,
                "transcription": {"model": transcription_model} if transcription_model else None,
                "turn_detection": msgspec.to_builtins(turn_detection),
            },
            "output": {"format": dict(pcm), "voice": voice},
        },
        "tools": list(tools),
        "tool_choice": tool_choice,
        "max_output_tokens": "inf",
        "truncation": "auto",
    }


# ---- items ----------------------------------------------------------------------------------------------------------


def user_text(text: str, item_id: str | None = None) -> JsonObject:
    """What the user typed, or what is known of what they said. `item_id` is ours to choose, at most 32 letters."""
    return _message("user", "input_text", text, item_id)


def user_audio(pcm: bytes, item_id: str | None = None) -> JsonObject:
    """What the user said, as sound: PCM16 24 kHz. Costs audio tokens again; text, where there is any, is cheaper."""
    part = {"type": "input_audio", "audio": pybase64.b64encode_as_string(pcm)}
    return _item({"type": "message", "role": "user", "content": [part]}, item_id)


def assistant_text(text: str, item_id: str | None = None) -> JsonObject:
    """What the model said, told to a model that does not remember. Of text only: `output_audio` would be refused."""
    return _message("assistant", "output_text", text, item_id)


def system_text(text: str, item_id: str | None = None) -> JsonObject:
    return _message("system", "input_text", text, item_id)


def function_call(call_id: str, name: str, arguments: str, item_id: str | None = None) -> JsonObject:
    """What the model asked for, told again. Belongs in front of its `function_call_output`."""
    return _item({"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}, item_id)


def function_call_output(call_id: str, output: str, item_id: str | None = None) -> JsonObject:
    return _item({"type": "function_call_output", "call_id": call_id, "output": output}, item_id)


def _message(role: str, part: str, text: str, item_id: str | None) -> JsonObject:
    return _item({"type": "message", "role": role, "content": [{"type": part, "text": text}]}, item_id)


def _item(item: JsonObject, item_id: str | None) -> JsonObject:
    return item if item_id is None else {"id": item_id, **item}
