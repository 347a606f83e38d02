"""Where, who, and in which words. A whole conversation in each dialect is in the integration tests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from realtime_bridge import dialects
from realtime_bridge.client_events import (
    ConversationItemCreate,
    InputAudioBufferCommit,
    ResponseCreate,
    ServerVad,
    SessionUpdate,
    assistant_text,
    session_config,
    user_text,
)
from realtime_bridge.dialects import BETA, GA, headers, longest_session_s, realtime_url, spoken_by

AZURE = "https://r.openai.azure.com"
PREVIEW = f"{AZURE}/openai?api-version=2025-04-01-preview"


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        (AZURE, "wss://r.openai.azure.com/openai/v1/realtime?model=m"),
        (f"{AZURE}/openai/v1/", "wss://r.openai.azure.com/openai/v1/realtime?model=m"),
        (PREVIEW, "wss://r.openai.azure.com/openai/realtime?api-version=2025-04-01-preview&deployment=m"),
        (
            f"{AZURE}/?api-version=2025-04-01-preview",
            "wss://r.openai.azure.com/openai/realtime?api-version=2025-04-01-preview&deployment=m",
        ),
        ("wss://s.example/api/v1/realtime?protocol=realtime", "wss://s.example/api/v1/realtime?protocol=realtime&model=m"),
    ],
)
def test_the_address_says_how_it_is_dialled(base_url: str, url: str) -> None:
    """Azure's two forms by its host name; an address that names the endpoint itself is not lengthened."""
    assert realtime_url(base_url, "m") == url


@pytest.mark.parametrize(
    ("url", "key", "dialect", "expected"),
    [
        ("wss://api.openai.com/v1/realtime", "k", "auto", {"Authorization": "Bearer k"}),
        ("wss://api.openai.com/v1/realtime", None, "auto", {}),
        (AZURE, "k", "auto", {"api-key": "k"}),
        (PREVIEW, "k", "beta", {"api-key": "k"}),
        (AZURE, "eyJ0.e30.c2ln", "auto", {"Authorization": "Bearer eyJ0.e30.c2ln"}),
        (AZURE, None, "auto", {}),
        ("ws://old.example/v1/realtime", "k", "beta", {"Authorization": "Bearer k", "OpenAI-Beta": "realtime=v1"}),
    ],
)
def test_the_key_goes_where_the_server_looks(url: str, key: str | None, dialect: Any, expected: dict[str, str]) -> None:
    """And nothing else goes with it, but to a server that is said to speak the older dialect."""
    assert headers(url, key, dialect) == expected


def test_azure_may_not_say_when_a_session_ends() -> None:
    """Half an hour; of others nothing is known."""
    assert longest_session_s(PREVIEW) == 1_800.0
    assert longest_session_s("https://api.openai.com/v1") is None


@pytest.mark.parametrize(
    ("session", "asked", "expected"),
    [
        ({"type": "realtime", "audio": {}}, "auto", GA),
        ({"modalities": ["text"], "input_audio_format": "pcm16"}, "auto", BETA),
        ({}, "auto", GA),
        ({}, "beta", BETA),
        ({"modalities": ["text"]}, "ga", GA),
    ],
)
def test_a_server_shows_what_it_speaks(session: dict[str, Any], asked: Any, expected: dialects.Dialect) -> None:
    """By the shape of its first word, unless the operator knows better."""
    assert spoken_by(json.dumps({"type": "session.created", "session": session}), asked) is expected


def test_a_session_is_flat_in_the_older_dialect() -> None:
    """Under the older names, and without what it does not know."""
    config = session_config(instructions="Be kind.", voice="marin", turn_detection=ServerVad(), transcription_model="w")
    sent = json.loads(BETA.encode(SessionUpdate(session=config, event_id="e")))
    session = sent["session"]
    assert session.pop("turn_detection")["silence_duration_ms"] == 500
    assert sent["event_id"] == "e"
    assert session == {
        "modalities": ["text", "audio"],
        "instructions": "Be kind.",
        "input_audio_format": "pcm16",
        "input_audio_transcription": {"model": "w"},
        "input_audio_noise_reduction": None,
        "output_audio_format": "pcm16",
        "voice": "marin",
        "tools": [],
        "tool_choice": "auto",
        "max_response_output_tokens": "inf",
    }
    assert dialects.nested(session)["audio"]["output"] == config["audio"]["output"]


def test_items_and_responses_have_the_older_names() -> None:
    """An assistant's `output_text` is `text` there; a user's stays."""
    told = json.loads(BETA.encode(ConversationItemCreate(item=assistant_text("Yes."))))
    assert told["item"]["content"] == [{"type": "text", "text": "Yes."}]
    asked = json.loads(BETA.encode(ConversationItemCreate(item=user_text("No?"))))
    assert asked["item"]["content"] == [{"type": "input_text", "text": "No?"}]
    created = json.loads(BETA.encode(ResponseCreate(response={"output_modalities": ["text"], "max_output_tokens": 9})))
    assert created["response"] == {"modalities": ["text"], "max_response_output_tokens": 9}
    assert json.loads(BETA.encode(InputAudioBufferCommit())) == {"type": "input_audio_buffer.commit"}


@pytest.mark.parametrize(
    ("beta", "ga"),
    [
        ("response.audio.delta", "response.output_audio.delta"),
        ("response.audio.done", "response.output_audio.done"),
        ("response.audio_transcript.delta", "response.output_audio_transcript.delta"),
        ("response.text.done", "response.output_text.done"),
        ("conversation.item.created", "conversation.item.added"),
        ("response.done", "response.done"),
    ],
)
def test_what_comes_back_is_called_as_it_is_now(beta: str, ga: str) -> None:
    """Whatever the order and the blanks; all else in it stays."""
    for separators in ((",", ":"), (", ", ": ")):
        frame = json.dumps({"event_id": "e", "type": beta, "delta": "AAAA", "item_id": "i"}, separators=separators)
        assert json.loads(BETA.heard(frame)) == {"event_id": "e", "type": ga, "delta": "AAAA", "item_id": "i"}


@pytest.mark.parametrize(
    "frame", ["{", "[]", "null", '{"type":null}', '{"type":"response.done","response":{"output":null}}']
)
def test_no_frame_is_too_odd(frame: str) -> None:
    """Whoever reads it says that it is no event."""
    BETA.heard(frame)


def test_the_items_of_an_answer_have_the_newer_names() -> None:
    """In a response that is done, and in an event of their own."""
    item = {"id": "a", "role": "assistant", "content": [{"type": "audio", "transcript": "Yes."}]}
    done = json.loads(BETA.heard(json.dumps({"type": "response.done", "response": {"id": "r", "output": [item]}})))
    assert done["response"]["output"][0]["content"][0]["type"] == "output_audio"
    added = json.loads(BETA.heard(json.dumps({"type": "response.output_item.done", "item": item})))
    assert added["item"]["content"][0]["type"] == "output_audio"
