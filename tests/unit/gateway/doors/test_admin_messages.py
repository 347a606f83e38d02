"""What an operator is told of an entry: words and sound only where that is allowed."""

from __future__ import annotations

import msgspec
import pytest

from gateway.doors.admin_messages import read_before, read_drain, read_end, told
from gateway.errors import InvalidRequest
from streams import down, messages, pcm
from streams.consumer import Entry
from streams.ids import EntryId
from streams.overview import Cursor

ID = EntryId(7, 3)
DONE = (
    b'{"type":"response.done","event_id":"e","response":{"id":"r","status":"completed","usage":{"total_tokens":3},'
    b'"output":[{"content":[{"transcript":"my secret"}]}]},"transcript":"my secret","of_tomorrow":"my secret"}'
)

SECRETS = [
    down.ServerEvent("response.done", msgspec.Raw(DONE)),
    messages.ClientEvent("session.update", msgspec.Raw(b'{"type":"session.update","instructions":"my secret"}')),
    messages.Text("my secret"),
    messages.Instructions("my secret"),
]


@pytest.mark.parametrize("message", SECRETS, ids=lambda message: type(message).__name__)
def test_words_are_told_only_to_who_may_read_them(message: messages.Message) -> None:
    shown = msgspec.json.encode(told("user", Entry(ID, message), audio=True, words=False))
    assert b"secret" not in shown
    assert b"secret" in msgspec.json.encode(told("user", Entry(ID, message), audio=False, words=True))


def test_of_an_event_the_fields_without_words_are_told() -> None:
    assert told("model", Entry(ID, SECRETS[0]), audio=False, words=False) == {
        "side": "model",
        "id": "7-3",
        "kind": "event",
        "type": "response.done",
        "event_id": "e",
        "response_id": "r",
        "status": "completed",
        "usage": {"total_tokens": 3},
    }


def test_sound_is_told_by_its_length_or_as_it_is() -> None:
    entry = Entry(ID, pcm.Audio(bytes(960)))
    assert told("user", entry, audio=False, words=True) == {"side": "user", "id": "7-3", "kind": "audio", "ms": 20.0}
    assert told("user", entry, audio=True, words=False)["audio"] == "A" * 1280
    said = told("model", Entry(ID, down.Audio("r", "i", 0, 100, bytes(4800))), audio=False, words=False)
    assert said == {
        "side": "model",
        "id": "7-3",
        "kind": "audio",
        "ms": 100.0,
        "response": "r",
        "item": "i",
        "part": 0,
        "start_ms": 100,
    }


def test_other_entries_are_told_as_they_are() -> None:
    assert told("model", Entry(ID, down.Ended("idle")), audio=False, words=False) == {
        "side": "model",
        "id": "7-3",
        "kind": "ended",
        "reason": "idle",
    }


def test_what_may_be_asked_for() -> None:
    assert read_end(b"").after_answer is False
    assert read_end(b'{"after_answer":true}').after_answer
    assert read_drain(b'{"drain":false}').drain is False
    assert read_before(str(Cursor(12, "ab"))) == Cursor(12, "ab")
    for wrong in (lambda: read_end(b"[]"), lambda: read_drain(b"{}"), lambda: read_drain(b""), lambda: read_before("x")):
        with pytest.raises(InvalidRequest):
            wrong()
