"""What the address and the phone may say, and what both are told."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.doors import watch_messages as wire
from gateway.errors import InvalidAudio, InvalidMessage, UnknownType
from streams import down
from streams.ids import EntryId
from streams.turns import HistoryLine

LINE = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant"]),
        "content": st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    }
)


@given(st.lists(LINE, max_size=14), st.booleans(), st.booleans(), st.booleans())
def test_history_survives_what_an_address_does_to_it(
    told: list[dict[str, Any]], spaces: bool, url_safe: bool, padded: bool
) -> None:
    text = base64.b64encode(json.dumps(told, ensure_ascii=False).encode()).decode()
    text = text.replace("+", "-").replace("/", "_") if url_safe else text
    text = text.replace("+", " ") if spaces else text
    text = text if padded else text.rstrip("=")
    lines = wire.history_in_address(text).lines
    assert lines == tuple(HistoryLine(line["role"], line["content"]) for line in told[-10:])


def test_history_is_bounded_and_the_newest_counts() -> None:
    told = [{"role": "user", "content": f"{n}" * 30_000} for n in range(5)]
    assert [line.content[0] for line in wire.history(told).lines] == ["3", "4"]
    assert wire.history([{"role": "user", "content": "x" * 70_000}]).lines == ()


def test_what_is_left_out_of_history_is_told_without_its_content() -> None:
    found = wire.history([{"role": "user", "content": "secret"}, {"role": "secret"}, 7])
    assert found.lines == (HistoryLine("user", "secret"),)
    assert found.trouble == "2 of its 3 lines are none"
    assert wire.history([]) == wire.history_in_address("") == wire.History()


@settings(max_examples=1000)
@given(st.text())
def test_no_address_raises(text: str) -> None:
    wire.history_in_address(text)
    wire.last_event(text)
    with suppress(InvalidMessage):
        assert 1 <= len(wire.conversation({"conversationId": text})) <= wire.MAX_CONVERSATION_CHARS


@settings(max_examples=1000)
@given(st.one_of(st.binary(), st.text().map(lambda text: text.encode(errors="surrogatepass"))))
def test_no_frame_raises_anything_else(text: bytes) -> None:
    with suppress(InvalidMessage, UnknownType):
        assert isinstance(wire.decode(text), wire.FromPhone)


@given(st.text())
def test_a_line_is_one_line(text: str) -> None:
    line = wire.one_line(text)
    assert "\n" not in line
    assert "\r" not in line
    assert line.split() == text.split()


@pytest.mark.parametrize(
    ("header", "heard"),
    [
        ("12-3", wire.Heard(EntryId(12, 3))),
        (f"{'a' * 32}/12-3", wire.Heard(EntryId(12, 3), "a" * 32)),
        (f" {'0' * 32}/1-0 ", wire.Heard(EntryId(1, 0), "0" * 32)),
        *((bad, None) for bad in (None, "", "x", "1", "1-", "a/1-1", "1-1-1", "-1-1", "1_0-1", "9" * 19 + "-1")),
    ],
)
def test_the_last_event_is_a_session_and_a_place(header: str | None, heard: wire.Heard | None) -> None:
    assert wire.last_event(header) == heard


def test_an_id_that_was_given_out_is_read_again() -> None:
    assert wire.last_event(wire.event_id_prefix("b" * 32) + str(EntryId(7, 8))) == wire.Heard(EntryId(7, 8), "b" * 32)


def test_the_phone_may_call_its_audio_by_either_name() -> None:
    assert wire.AudioChunk(data="AAE=").bytes() == wire.AudioChunk(audio="AAE=").bytes() == b"\0\1"
    for bad, error in ((wire.AudioChunk(), InvalidMessage), (wire.AudioChunk(data="é"), InvalidAudio)):
        with pytest.raises(error):
            bad.bytes()


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
    assert [wire.kind(told) for told in wire.told(event("response.done", response=response))] == kinds


@pytest.mark.parametrize("type_", ["response.created", "rate_limits.updated", "conversation.item.added", "never.heard.of"])
def test_the_rest_of_what_the_model_says_is_its_own_affair(type_: str) -> None:
    assert wire.told(event(type_)) == []


def test_a_transcript_in_which_nothing_was_heard_is_not_told() -> None:
    assert wire.told(event("conversation.item.input_audio_transcription.completed", transcript=" ")) == []


def test_the_phone_is_told_the_conversation_first() -> None:
    assert (
        wire.to_phone(wire.TranscriptDelta("a\n"), "c") == b'{"type":"transcript_delta","conversationId":"c","text":"a\\n"}'
    )
    assert wire.to_phone(wire.ConversationStarted("c"), "c") == b'{"type":"conversation_started","conversationId":"c"}'
    assert wire.to_phone(wire.SessionCreated(), None) == b'{"type":"session.created"}'
