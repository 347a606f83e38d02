"""All that we say is valid by the official types, and by what live servers are known to refuse beyond them."""

from __future__ import annotations

import base64
import json
from typing import Annotated, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeClientEvent
from pydantic import Field, TypeAdapter

from realtime_bridge.client_events import (
    AnyClientEvent,
    ClientEvent,
    ConversationItemCreate,
    ConversationItemDelete,
    ConversationItemRetrieve,
    ConversationItemTruncate,
    InputAudioBufferAppend,
    InputAudioBufferClear,
    InputAudioBufferCommit,
    ResponseCancel,
    ResponseCreate,
    SemanticVad,
    ServerVad,
    SessionUpdate,
    append_frame,
    assistant_text,
    encode,
    function_call,
    function_call_output,
    session_config,
    system_text,
    user_text,
)

OFFICIAL: TypeAdapter[Any] = TypeAdapter(Annotated[RealtimeClientEvent, Field(discriminator="type")])

FULL = session_config(
    instructions="Be brief.", voice="marin", turn_detection=ServerVad(), transcription_model="gpt-transcribe"
)
TOOL = {"type": "function", "name": "weather", "description": "…", "parameters": {"type": "object", "properties": {}}}

EVENTS: list[ClientEvent] = [
    SessionUpdate(FULL),
    SessionUpdate(
        session_config(
            instructions="",
            voice="cedar",
            turn_detection=SemanticVad(eagerness="low"),
            transcription_model=None,
            output_modality="text",
            noise_reduction="far_field",
            tools=[TOOL],
        )
    ),
    SessionUpdate(session_config(instructions="", voice="cedar", turn_detection=None, transcription_model="whisper-1")),
    InputAudioBufferAppend("AAAA"),
    InputAudioBufferCommit(),
    InputAudioBufferClear(),
    ConversationItemCreate(user_text("Good morning.")),
    ConversationItemCreate(assistant_text("Good morning."), "item_1"),
    ConversationItemCreate(system_text("They spoke of the weather."), "root"),
    ConversationItemCreate(function_call("call_1", "weather", '{"city":"Bonn"}', "item_9")),
    ConversationItemCreate(function_call_output("call_1", '{"degrees":12}')),
    ConversationItemTruncate("item_1", 0, 1200),
    ConversationItemTruncate("item_1", 0, 0),
    ConversationItemDelete("item_1"),
    ConversationItemRetrieve("item_1"),
    ResponseCreate(),
    ResponseCreate({"instructions": "Say good day.", "metadata": {"turn": "7"}}),
    ResponseCancel(),
    ResponseCancel("resp_1"),
]


def dotted_keys(value: object, path: str = "") -> set[str]:
    if not isinstance(value, dict):
        return set()
    return {f"{path}{k}" for k in value} | {each for k, v in value.items() for each in dotted_keys(v, f"{path}{k}.")}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_each_event_is_valid(event: ClientEvent) -> None:
    """The official library accepts it, and knows every field in it."""
    raw = encode(event)
    official = OFFICIAL.validate_json(raw, strict=True)
    assert official.type == event.type == json.loads(raw)["type"]
    assert set(json.loads(raw)) <= set(type(official).model_fields)


def test_all_events_are_tried() -> None:
    """The list above has each event of the union; the union has all official ones that exist over WebSocket."""
    assert {type(event) for event in EVENTS} == set(get_args(AnyClientEvent))
    official = {get_args(each.model_fields["type"].annotation)[0] for each in get_args(get_args(RealtimeClientEvent)[0])}
    assert official - {event.type for event in EVENTS} == {"output_audio_buffer.clear"}


def test_what_is_none_is_left_out() -> None:
    """An event without an id has no event_id; one with an id has it."""
    assert json.loads(encode(ResponseCreate())) == {"type": "response.create"}
    assert json.loads(encode(ResponseCancel("resp_1", event_id="event_7"))) == {
        "type": "response.cancel",
        "response_id": "resp_1",
        "event_id": "event_7",
    }


def test_truncation_at_zero_says_so() -> None:
    """Zero is a value, not a default that may be left out."""
    assert json.loads(encode(ConversationItemTruncate("item_1", 0, 0))) == {
        "type": "conversation.item.truncate",
        "item_id": "item_1",
        "content_index": 0,
        "audio_end_ms": 0,
    }


@given(st.binary(max_size=5000))
def test_append_frame_says_the_same_as_the_event(pcm: bytes) -> None:
    """The fast writer and the plain one agree."""
    event = InputAudioBufferAppend(base64.b64encode(pcm).decode())
    assert json.loads(append_frame(pcm)) == json.loads(encode(event))


def test_a_session_is_explicit() -> None:
    """Every setting that has a default of the server's is sent, null where it is off."""
    assert FULL == {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": "Be brief.",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "noise_reduction": None,
                "transcription": {"model": "gpt-transcribe"},
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 500,
                    "create_response": True,
                    "interrupt_response": True,
                },
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"},
        },
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "truncation": "auto",
    }


def test_a_session_can_be_push_to_talk_without_captions() -> None:
    """What is off is null, for what is left out would stay as it was."""
    session = session_config(instructions="", voice="marin", turn_detection=None, transcription_model=None)
    assert session["audio"]["input"]["turn_detection"] is None
    assert session["audio"]["input"]["transcription"] is None


@pytest.mark.parametrize("event", [each for each in EVENTS if isinstance(each, SessionUpdate)])
def test_sessions_hold_nothing_that_live_servers_refuse(event: SessionUpdate) -> None:
    """The official types let pass what servers do not: unknown keys, two modalities, what cannot change."""
    session = event.session
    assert len(session["output_modalities"]) == 1
    official = {
        *("type", "output_modalities", "instructions", "audio", "tools", "tool_choice", "max_output_tokens"),
        *("truncation", "audio.input", "audio.output", "audio.output.format", "audio.output.voice"),
        *("audio.output.format.type", "audio.output.format.rate"),
    }
    official |= {f"audio.input.{each}" for each in ("format", "noise_reduction", "transcription", "turn_detection")}
    official |= {f"audio.input.{each}" for each in ("format.type", "format.rate", "noise_reduction.type")}
    official |= {"audio.input.transcription.model"}
    detection = ("type", "threshold", "prefix_padding_ms", "silence_duration_ms", "create_response", "interrupt_response")
    official |= {f"audio.input.turn_detection.{each}" for each in (*detection, "eagerness")}
    assert dotted_keys(session) <= official


@pytest.mark.parametrize("event", [each for each in EVENTS if isinstance(each, ConversationItemCreate)])
def test_items_hold_nothing_that_live_servers_refuse(event: ConversationItemCreate) -> None:
    """An assistant's words go in as output_text, everybody else's as input_text; ids are short."""
    item = event.item
    assert len(item.get("id", "")) <= 32
    if item["type"] == "message":
        part = "output_text" if item["role"] == "assistant" else "input_text"
        assert item["role"] in ("system", "user", "assistant")
        assert [(each["type"], set(each)) for each in item["content"]] == [(part, {"type", "text"})]
