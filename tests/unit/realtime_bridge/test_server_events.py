"""Every event of the official types reads; what is loose, new or broken is told apart."""

from __future__ import annotations

import json
from typing import Annotated, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeServerEvent
from pydantic import Field, TypeAdapter

from realtime_bridge import server_events as hear
from realtime_bridge.errors import MalformedServerEvent
from realtime_bridge.server_events import TYPES, ServerEvent, Unknown, parse, type_of

OFFICIAL: TypeAdapter[Any] = TypeAdapter(Annotated[RealtimeServerEvent, Field(discriminator="type")])
OFFICIAL_TYPES = {
    get_args(each.model_fields["type"].annotation)[0]: each for each in get_args(get_args(RealtimeServerEvent)[0])
}

SESSION = {
    "type": "realtime",
    "object": "realtime.session",
    "id": "sess_1",
    "model": "gpt-realtime-2.1",
    "expires_at": 1795000000,
    "output_modalities": ["audio"],
    "instructions": "Be brief.",
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": None,
            "noise_reduction": {"type": "near_field"},
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "prefix_padding_ms": 300,
                "silence_duration_ms": 200,
                "idle_timeout_ms": None,
                "create_response": True,
                "interrupt_response": True,
            },
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.0},
    },
    "tools": [],
    "tool_choice": "auto",
    "max_output_tokens": "inf",
    "truncation": "auto",
    "tracing": None,
    "include": None,
}
USER = {
    "id": "item_1",
    "object": "realtime.item",
    "type": "message",
    "role": "user",
    "status": "completed",
    "content": [{"type": "input_audio", "transcript": None}],
}
ASSISTANT = {
    "id": "item_2",
    "type": "message",
    "role": "assistant",
    "status": "incomplete",
    "content": [{"type": "output_audio", "transcript": "Good mor"}],
}
CALL = {
    "id": "item_3",
    "type": "function_call",
    "status": "in_progress",
    "call_id": "call_1",
    "name": "weather",
    "arguments": '{"city":"Bonn"}',
}
USAGE = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {
        "text_tokens": 119,
        "audio_tokens": 13,
        "image_tokens": 0,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}
NEW_RESPONSE = {
    "object": "realtime.response",
    "id": "resp_1",
    "status": "in_progress",
    "status_details": None,
    "output": [],
    "conversation_id": "conv_1",
    "output_modalities": ["audio"],
    "max_output_tokens": "inf",
    "audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"}},
    "usage": None,
    "metadata": None,
}
INTERRUPTED = NEW_RESPONSE | {
    "status": "cancelled",
    "status_details": {"type": "cancelled", "reason": "turn_detected"},
    "output": [ASSISTANT, CALL],
    "usage": USAGE,
    "metadata": {"turn": "7"},
}
ITEM = {"item_id": "item_2"}
RESPONSE = {"response_id": "resp_1"}
OUTPUT = {**RESPONSE, **ITEM, "output_index": 1}
PART = {**OUTPUT, "content_index": 0}
MCP_CALL = {**ITEM, "output_index": 1}
TRANSCRIPTION = "conversation.item.input_audio_transcription."

SAMPLES: dict[str, dict[str, Any]] = {
    "session.created": {"session": SESSION},
    "session.updated": {"session": SESSION},
    "conversation.created": {"conversation": {"id": "conv_1", "object": "realtime.conversation"}},
    "conversation.item.added": {"previous_item_id": None, "item": USER},
    "conversation.item.done": {"previous_item_id": "item_1", "item": ASSISTANT},
    "conversation.item.created": {"previous_item_id": "item_2", "item": CALL},
    "conversation.item.retrieved": {"item": USER},
    "conversation.item.truncated": {**ITEM, "content_index": 0, "audio_end_ms": 1200},
    "conversation.item.deleted": ITEM,
    TRANSCRIPTION + "delta": {**ITEM, "content_index": 0, "delta": "Good", "logprobs": None, "obfuscation": "aF3xQ"},
    TRANSCRIPTION + "completed": {
        **ITEM,
        "content_index": 0,
        "transcript": "Good morning.",
        "usage": {"type": "duration", "seconds": 2},
    },
    TRANSCRIPTION + "failed": {
        **ITEM,
        "content_index": 0,
        "error": {"type": "server_error", "code": "audio_unintelligible", "message": "It was not heard.", "param": None},
    },
    TRANSCRIPTION + "segment": {
        **ITEM,
        "content_index": 0,
        "id": "seg_1",
        "text": "Good morning.",
        "speaker": "A",
        "start": 0.25,
        "end": 1.5,
    },
    "input_audio_buffer.speech_started": {**ITEM, "audio_start_ms": 320},
    "input_audio_buffer.speech_stopped": {**ITEM, "audio_end_ms": 2140},
    "input_audio_buffer.committed": {**ITEM, "previous_item_id": None},
    "input_audio_buffer.cleared": {},
    "input_audio_buffer.timeout_triggered": {**ITEM, "audio_start_ms": 4000, "audio_end_ms": 10000},
    "input_audio_buffer.dtmf_event_received": {"event": "9", "received_at": 1795000001},
    "output_audio_buffer.started": RESPONSE,
    "output_audio_buffer.stopped": RESPONSE,
    "output_audio_buffer.cleared": RESPONSE,
    "response.created": {"response": NEW_RESPONSE},
    "response.done": {"response": INTERRUPTED},
    "response.output_item.added": {**RESPONSE, "output_index": 0, "item": ASSISTANT | {"content": []}},
    "response.output_item.done": {**RESPONSE, "output_index": 0, "item": ASSISTANT},
    "response.content_part.added": {**PART, "part": {"type": "audio", "transcript": ""}},
    "response.content_part.done": {**PART, "part": {"type": "text", "text": "Good morning."}},
    "response.output_text.delta": {**PART, "delta": "Good", "obfuscation": "aF3xQ"},
    "response.output_text.done": {**PART, "text": "Good morning."},
    "response.output_audio.delta": {**PART, "delta": "AAAA"},
    "response.output_audio.done": PART,
    "response.output_audio_transcript.delta": {**PART, "delta": "Good", "obfuscation": "aF3xQ"},
    "response.output_audio_transcript.done": {**PART, "transcript": "Good morning."},
    "response.function_call_arguments.delta": {**OUTPUT, "call_id": "call_1", "delta": '{"ci'},
    "response.function_call_arguments.done": {**OUTPUT, "call_id": "call_1", "name": "weather", "arguments": "{}"},
    "response.mcp_call_arguments.delta": {**OUTPUT, "delta": '{"ci'},
    "response.mcp_call_arguments.done": {**OUTPUT, "arguments": "{}"},
    "response.mcp_call.in_progress": MCP_CALL,
    "response.mcp_call.completed": MCP_CALL,
    "response.mcp_call.failed": MCP_CALL,
    "mcp_list_tools.in_progress": ITEM,
    "mcp_list_tools.completed": ITEM,
    "mcp_list_tools.failed": ITEM,
    "rate_limits.updated": {"rate_limits": [{"name": "tokens", "limit": 40000, "remaining": 39747, "reset_seconds": 0.38}]},
    "error": {
        "error": {
            "type": "invalid_request_error",
            "code": "response_cancel_not_active",
            "message": "Cancellation failed: no active response found",
            "param": None,
            "event_id": "event_7",
        }
    },
}


def frame(type_: str, **fields: object) -> str:
    """A frame as a server would write it: the sample of this type, with some fields changed."""
    return json.dumps({"type": type_, "event_id": "event_1", **SAMPLES[type_], **fields})


def without(type_: str, *names: str) -> str:
    return json.dumps({"type": type_} | {k: v for k, v in SAMPLES[type_].items() if k not in names})


def same(ours: Any, theirs: Any) -> bool:
    """Whether everything that we keep is what was sent. What was null or left out is whatever default we gave it."""
    if isinstance(theirs, dict):
        kept = ours if isinstance(ours, dict) else {name: getattr(ours, name) for name in ours.__struct_fields__}
        return all(same(value, theirs[name]) for name, value in kept.items() if theirs.get(name) is not None)
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return bool(ours == theirs)


def test_known_types_are_the_official_ones() -> None:
    """We know each type that the official library knows, and no other."""
    assert set(TYPES) == set(SAMPLES) == set(OFFICIAL_TYPES)
    assert len(TYPES) == len(get_args(ServerEvent)) == 46


@pytest.mark.parametrize("type_", SAMPLES)
def test_each_type_reads_as_the_struct_of_its_name(type_: str) -> None:
    """A frame that the official library accepts reads, with every field that we keep."""
    raw = frame(type_)
    OFFICIAL.validate_json(raw, strict=True)
    event = parse(raw)
    assert type(event) is TYPES[type_]
    assert type(event).__name__ == "".join(word.capitalize() for word in type_.replace(".", "_").split("_"))
    assert type_of(event) == event.type == type_
    assert same(event, json.loads(raw))
    assert parse(raw.encode()) == event


@pytest.mark.parametrize("type_", SAMPLES)
def test_each_official_field_is_kept(type_: str) -> None:
    """No field of an event is left behind, but for those that we have no use for."""
    ignored = {"type", "logprobs", "obfuscation", "languages"}
    assert set(OFFICIAL_TYPES[type_].model_fields) - ignored <= set(TYPES[type_].__struct_fields__)


def test_session_is_read_to_the_depth_we_act_on() -> None:
    """The effective session tells its end, and how it finds turns."""
    event = parse(frame("session.created"))
    assert isinstance(event, hear.SessionCreated)
    assert event.session.expires_at == 1795000000
    assert event.session.audio
    assert event.session.audio.input
    assert event.session.audio.input.turn_detection
    assert event.session.audio.input.turn_detection.silence_duration_ms == 200


def test_response_is_read_to_the_depth_we_act_on() -> None:
    """A finished response tells why, what it made and what it cost."""
    event = parse(frame("response.done"))
    assert isinstance(event, hear.ResponseDone)
    response = event.response
    assert response.status_details
    assert (response.status, response.status_details.reason) == ("cancelled", "turn_detected")
    assert [item.type for item in response.output] == ["message", "function_call"]
    assert response.output[0].content[0].transcript == "Good mor"
    assert response.usage
    assert response.usage.input_token_details.cached_tokens_details.text_tokens == 64
    assert response.metadata == {"turn": "7"}


@pytest.mark.parametrize(
    ("type_", "left_out"),
    [
        ("input_audio_buffer.speech_started", ("item_id", "audio_start_ms")),
        ("response.output_audio.delta", ("output_index", "content_index")),
        (TRANSCRIPTION + "completed", ("usage", "content_index")),
        ("response.function_call_arguments.done", ("name",)),
        ("conversation.item.added", ("previous_item_id",)),
        ("rate_limits.updated", ("rate_limits",)),
    ],
)
def test_what_third_party_servers_leave_out_has_a_default(type_: str, left_out: tuple[str, ...]) -> None:
    """An event without what it can do without, and without an event_id, reads."""
    event = parse(without(type_, *left_out))
    assert type_of(event) == type_
    assert all(getattr(event, name) in ("", 0, None, ()) for name in left_out)


def test_a_null_in_place_of_a_value_counts_as_left_out() -> None:
    """Servers written in Go send null for an empty list."""
    event = parse(frame("response.done", response=INTERRUPTED | {"output": None, "usage": USAGE | {"total_tokens": None}}))
    assert isinstance(event, hear.ResponseDone)
    assert event.response.output == ()
    assert event.response.usage
    assert (event.response.usage.total_tokens, event.response.usage.input_tokens) == (0, 132)


def test_a_whole_number_may_be_written_as_a_float() -> None:
    """Servers that count in seconds send 320.0 for 320."""
    event = parse(frame("input_audio_buffer.speech_started", audio_start_ms=320.0))
    assert isinstance(event, hear.InputAudioBufferSpeechStarted)
    assert event.audio_start_ms == 320
    assert isinstance(event.audio_start_ms, int)


def test_an_older_session_reads() -> None:
    """The flat session of the older dialect, with its formats by name, is no reason to hang up."""
    session = {"id": "sess_1", "voice": "alloy", "modalities": ["text", "audio"], "turn_detection": None}
    event = parse(json.dumps({"type": "session.created", "session": session | {"audio": {"input": {"format": "pcm16"}}}}))
    assert isinstance(event, hear.SessionCreated)
    assert event.session.expires_at is None


def test_the_type_may_come_last() -> None:
    """JSON objects have no order."""
    raw = json.dumps({**SAMPLES["response.output_audio.delta"], "type": "response.output_audio.delta"})
    assert isinstance(parse(raw), hear.ResponseOutputAudioDelta)


@pytest.mark.parametrize("type_", ["response.cancelled", "ping", "", "Error", "session.created "])
def test_an_unknown_type_is_kept_whole(type_: str) -> None:
    """What a newer server says is neither an error nor lost."""
    raw = json.dumps({"type": type_, "text": "grüße"}, ensure_ascii=False)
    assert parse(raw) == Unknown(type_, raw.encode())
    assert parse(raw.encode()) == Unknown(type_, raw.encode())


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "{",
        "null",
        "[]",
        '"error"',
        "{}",
        '{"type":null}',
        '{"type":7}',
        "[" * 100_000,
        '{"type":"x","y":' + "[" * 100_000,
        '{"type":"\ud800"}',
        b"\xff",
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_what_is_no_event_is_malformed(raw: str | bytes) -> None:
    """No JSON, no object, no type."""
    with pytest.raises(MalformedServerEvent) as caught:
        parse(raw)
    assert caught.value.type is None


@pytest.mark.parametrize(
    "raw",
    [
        without("error", "error"),
        without("response.output_audio.delta", "delta"),
        without("response.done", "response"),
        frame("session.created", session="sess_1"),
        frame("response.output_audio.delta", delta=7),
        frame("input_audio_buffer.speech_started", audio_start_ms=320.5),
        frame("error", error={"message": "\ud800"}),
        '{"type":"error","error":{"message":"\ud800"}}',
        b'{"type":"error","error":{"message":"\xff"}}',
        '{"type":"error","error":{"message":' + "[" * 100_000,
    ],
    ids=lambda raw: repr(raw[:60]),
)
def test_a_known_type_whose_fields_do_not_read_is_malformed(raw: str | bytes) -> None:
    """An event without what it exists for is none."""
    with pytest.raises(MalformedServerEvent, match="does not read"):
        parse(raw)


def test_the_error_does_not_repeat_what_was_said() -> None:
    """The sentence names the type and the path, for it will be logged; it holds no speech."""
    with pytest.raises(MalformedServerEvent) as caught:
        parse(frame("response.output_audio_transcript.done", transcript=["my secret"]))
    assert caught.value.type == "response.output_audio_transcript.done"
    assert "transcript" in str(caught.value)
    assert "secret" not in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=8), each, max_size=4),
    max_leaves=12,
)


@given(st.text() | st.binary() | json_values.map(json.dumps))
def test_arbitrary_frames_raise_nothing_else(raw: str | bytes) -> None:
    """Whatever comes is an event, unknown, or malformed."""
    try:
        event = parse(raw)
    except MalformedServerEvent:
        return
    assert isinstance(type_of(event), str)


@given(
    st.sampled_from(sorted(SAMPLES)),
    st.data(),
)
def test_known_types_with_arbitrary_fields_raise_nothing_else(type_: str, data: st.DataObject) -> None:
    """A known event of which any field holds anything is that event, or malformed."""
    name = data.draw(st.sampled_from([*SAMPLES[type_], "event_id"]))
    try:
        event = parse(frame(type_, **{name: data.draw(json_values)}))
    except MalformedServerEvent:
        return
    assert type_of(event) == type_
