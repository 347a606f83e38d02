"""What a request to the watch door says: the conversation, its history, and what has been heard of it."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.doors import watch_address as address
from gateway.errors import InvalidMessage
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
    lines = address.history_in_address(text).lines
    assert lines == tuple(HistoryLine(line["role"], line["content"]) for line in told[-10:])


def test_history_is_bounded_and_the_newest_counts() -> None:
    told = [{"role": "user", "content": f"{n}" * 30_000} for n in range(5)]
    assert [line.content[0] for line in address.history(told).lines] == ["3", "4"]
    assert address.history([{"role": "user", "content": "x" * 70_000}]).lines == ()


def test_what_is_left_out_of_history_is_told_without_its_content() -> None:
    found = address.history([{"role": "user", "content": "secret"}, {"role": "secret"}, 7])
    assert found.lines == (HistoryLine("user", "secret"),)
    assert found.trouble == "2 of its 3 lines are none"
    assert address.history([]) == address.history_in_address("") == address.History()


@settings(max_examples=1000)
@given(st.text())
def test_no_address_raises(text: str) -> None:
    address.history_in_address(text)
    address.last_event(text)
    with suppress(InvalidMessage):
        assert 1 <= len(address.conversation({"conversationId": text})) <= address.MAX_CONVERSATION_CHARS


@pytest.mark.parametrize(
    ("header", "heard"),
    [
        ("12-3", address.Heard(EntryId(12, 3))),
        (f"{'a' * 32}/12-3", address.Heard(EntryId(12, 3), "a" * 32)),
        (f" {'0' * 32}/1-0 ", address.Heard(EntryId(1, 0), "0" * 32)),
        *((bad, None) for bad in (None, "", "x", "1", "1-", "a/1-1", "1-1-1", "-1-1", "1_0-1", "9" * 19 + "-1")),
    ],
)
def test_the_last_event_is_a_session_and_a_place(header: str | None, heard: address.Heard | None) -> None:
    assert address.last_event(header) == heard


def test_an_id_that_was_given_out_is_read_again() -> None:
    told = address.event_id_prefix("b" * 32) + str(EntryId(7, 8))
    assert address.last_event(told) == address.Heard(EntryId(7, 8), "b" * 32)
