"""What one request of the openai door carries: each event is taken, refused by name, or never looked at."""

from __future__ import annotations

from typing import Any

import msgspec
import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.doors import openai_batch as batches
from gateway.doors.openai_entries import VOIDED, Samples
from gateway.errors import NoEvents, TooManyEvents
from streams import pcm
from streams.ids import EntryId
from streams.messages import Commit, Message

APPEND = "input_audio_buffer.append"


def event(kind: str, **fields: object) -> bytes:
    return msgspec.json.encode({"type": kind, **fields})


def append(audio: bytes, **fields: object) -> bytes:
    return event(APPEND, audio=pybase64.b64encode_as_string(audio), **fields)


def speech(messages: list[Message]) -> bytes:
    return b"".join(message.audio for message in messages if isinstance(message, pcm.Audio))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["type", "useq", "audio", "did"]), inner),
    max_leaves=12,
)
EVENTS = st.lists(
    JSON
    | st.fixed_dictionaries(
        {"type": st.sampled_from([APPEND, "input_audio_buffer.commit", "response.create", "parley.received", "nothing"])},
        optional={"useq": st.integers(-1, 9) | JSON, "audio": st.sampled_from(["", "AAAA", "AAA=", "!"]), "did": JSON},
    ),
    max_size=12,
)


@given(st.binary() | JSON.map(lambda value: msgspec.json.encode(value)))
def test_any_body_is_a_list_of_events_or_is_refused(body: bytes) -> None:
    try:
        events = batches.events_of(body)
    except NoEvents:
        return
    assert all(msgspec.json.decode(event) is not NotImplemented for event in events)
    assert body.strip()[:1] in (b"[", b"{")


@given(EVENTS)
def test_any_events_are_taken_or_refused(events: list[object]) -> None:
    """All of them, by a client that does not number."""
    texts = batches.events_of(msgspec.json.encode(events))
    batch = batches.plain(texts)
    assert batch.stored + len(batch.mistakes) == len(events)
    assert batch.want is None


@given(EVENTS, st.integers(1, 5))
def test_numbers_are_used_up_one_after_the_other(events: list[Any], first: int) -> None:
    """Whatever comes: the entries are as many as the numbers that are new and without a gap."""
    texts = batches.events_of(msgspec.json.encode(events))
    batch = batches.numbered(texts, first)
    wanted = first
    for item in events:
        useq = item.get("useq") if isinstance(item, dict) else None
        if not isinstance(useq, int) or isinstance(useq, bool) or useq < 1:
            continue
        if useq > wanted:
            assert batch.want == wanted
            break
        wanted += useq == wanted
    else:
        assert batch.want is None
    assert len(batch.messages) == batch.stored == wanted - first


@pytest.mark.parametrize("body", [b"", b"5", b'"a"', b"nul", b"{", b"[{}", b"[1]x", b"\xff", b"[" * 5000, b'{"a":' * 5000])
def test_what_holds_no_events(body: bytes) -> None:
    with pytest.raises(NoEvents):
        batches.events_of(body)


def test_more_events_than_a_request_may_carry() -> None:
    assert len(batches.events_of(b"[" + b"1," * (batches.MAX_EVENTS - 1) + b"1]")) == batches.MAX_EVENTS
    with pytest.raises(TooManyEvents):
        batches.events_of(b"[" + b"1," * batches.MAX_EVENTS + b"1]")


def test_what_was_sent_before_is_neither_taken_nor_refused_again() -> None:
    events = [append(b"\0\0", useq=1), event("nothing", useq=2), append(b"\1\1", useq=3)]
    batch = batches.numbered(events, 3)
    assert (speech(batch.messages), batch.mistakes, batch.want) == (b"\1\1", [], None)


def test_behind_a_missing_number_nothing_is_looked_at() -> None:
    events = [append(b"\0\0", useq=1), append(b"\1\1", useq=3), event("nothing", useq=4), event("nothing")]
    batch = batches.numbered(events, 1)
    assert (speech(batch.messages), batch.mistakes, batch.want) == (b"\0\0", [], 2)


def test_a_mistake_keeps_its_number_and_its_place() -> None:
    batch = batches.numbered([event("nothing", useq=1), event("input_audio_buffer.commit", useq=2), b"7"], 1)
    assert batch.messages == [VOIDED, Commit(respond=False)]
    assert [(index, mistake.useq) for index, mistake in batch.mistakes] == [(0, 1), (2, None)]


def test_a_place_that_has_a_number_uses_it_up() -> None:
    batch = batches.numbered([event("parley.played", did="5-1", useq=1), append(b"\0\0", useq=2)], 1)
    assert batch.messages == [VOIDED, pcm.Audio(b"\0\0")]


def test_the_furthest_place_counts() -> None:
    events = [event("parley.received", did=did) for did in ("5-1", "5-3", "5-2")] + [event("parley.played", did="5-1")]
    batch = batches.numbered(events, 1)
    assert (batch.received, batch.played, batch.messages) == (EntryId(5, 3), EntryId(5, 1), [])


@given(st.binary(max_size=200), st.lists(st.integers(1, 7), max_size=60))
def test_speech_is_the_same_however_it_is_cut(audio: bytes, sizes: list[int]) -> None:
    """But for half a sample at its end."""
    events, at = [], 0
    for size in sizes:
        events.append(append(audio[at : at + size]))
        at += size
    events.append(append(audio[at:]))
    messages = batches.plain(events).messages
    assert speech(messages) == audio[: len(audio) // 2 * 2]
    assert all(len(message.audio) % 2 == 0 for message in messages if isinstance(message, pcm.Audio))


def test_half_a_sample_of_what_was_committed_belongs_to_nothing() -> None:
    batch = batches.plain([append(b"\1\2\3"), event("input_audio_buffer.commit"), append(b"\4\5")])
    assert batch.messages == [pcm.Audio(b"\1\2"), Commit(respond=False), pcm.Audio(b"\4\5")]


def test_long_speech_is_cut_in_seconds() -> None:
    pieces = Samples().take(bytes(100_001))
    assert [len(piece.audio) for piece in pieces] == [48_000, 48_000, 4_000]
