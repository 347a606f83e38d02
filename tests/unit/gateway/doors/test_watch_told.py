"""What a client of the watch door is told of what the model says."""

from __future__ import annotations

import json

import msgspec
import pytest

from gateway.doors import watch_messages as wire
from gateway.doors import watch_told
from streams import down


def event(type_: str, **fields: object) -> down.ServerEvent:
    return down.ServerEvent(type_, msgspec.Raw(json.dumps({"type": type_, **fields}).encode()))


CALL = {"type": "function_call"}
MESSAGE = {"type": "message"}


@pytest.mark.parametrize(
    ("response", "kinds"),
    [
        ({"status": "completed", "output": [MESSAGE]}, ["response_complete"]),
        ({"status": "cancelled", "output": []}, ["response_complete"]),
        ({"status": "completed", "output": [CALL, CALL]}, []),
        ({"status": "completed", "output": [MESSAGE, CALL]}, ["response_complete"]),
        ({"status": "failed", "output": []}, ["error", "response_complete"]),
    ],
)
def test_a_response_is_complete_unless_another_follows(response: dict[str, object], kinds: list[str]) -> None:
    assert [wire.kind(told) for told in watch_told.told(event("response.done", response=response))] == kinds


@pytest.mark.parametrize("type_", ["response.created", "rate_limits.updated", "conversation.item.added", "never.heard.of"])
def test_the_rest_of_what_the_model_says_is_its_own_affair(type_: str) -> None:
    assert watch_told.told(event(type_)) == []


def test_a_transcript_in_which_nothing_was_heard_is_not_told() -> None:
    assert watch_told.told(event("conversation.item.input_audio_transcription.completed", transcript=" ")) == []
