"""Answers that were begun when their socket broke."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from realtime_bridge.broken import mend
from realtime_bridge.rebuild import rebuild
from realtime_bridge.spoken import Position
from streams import down, turns
from streams.consumer import Entry
from streams.ids import EntryId

ASKED: list[turns.TurnsMessage] = [
    turns.Opened(user="ann", door="watch"),
    turns.Committed(item="u1", pcm_id="7-5", offset=10),
    turns.UserSaid(item="u1", text="Tell me."),
    turns.Begun(response="r1", pcm_id="7-5", offset=10),
]
OF_PART = {"response_id": "r1", "item_id": "a1", "output_index": 0, "content_index": 0}


def event(kind: str, **fields: Any) -> down.ServerEvent:
    return down.ServerEvent(type=kind, body=msgspec.Raw(msgspec.json.encode({"type": kind, **fields})))


CREATED = event("response.created", response={"id": "r1", "status": "in_progress"})
ITEM = event("response.output_item.added", response_id="r1", item={"id": "a1", "type": "message"})
WORDS = event("response.output_audio_transcript.delta", **OF_PART, delta="one two three four five")
SOUND = down.Audio("r1", "a1", 0, 0, bytes(600 * 48))
ALL_SOUND = event("response.output_audio.done", **OF_PART)
ALL_WORDS = event("response.output_audio_transcript.done", **OF_PART, transcript="one two three four five")
ITEM_DONE = event("response.output_item.done", response_id="r1", item={"id": "a1", "type": "message"})
DONE = event("response.done", response={"id": "r1", "status": "completed"})
CALL = event("response.output_item.added", response_id="r1", item={"id": "f1", "type": "function_call"})


def mended(
    *told: down.DownMessage,
    goes_on: bool = True,
    log: list[turns.TurnsMessage] = ASKED,
    closes_all: bool = False,
    offered: tuple[str, ...] = (),
) -> tuple[list[turns.TurnsMessage], list[str]]:
    rebuilt = rebuild([Entry(EntryId(1, n), message) for n, message in enumerate(log, 1)])
    assert rebuilt is not None
    entries = [Entry(EntryId(2, n), message) for n, message in enumerate(told, 1)]
    found = mend(entries, rebuilt, goes_on=goes_on, closes_all=closes_all, offered=offered)
    return found.turns, [each.type for each in found.told if isinstance(each, down.ServerEvent)]


def answered(*, whole: bool) -> turns.Answered:
    return turns.Answered(response="r1", pcm_id="7-5", offset=10, whole=whole)


def test_before_a_sound_it_is_asked_again() -> None:
    """Words alone, ahead of the sound, were not heard."""
    assert mended(CREATED, ITEM, WORDS) == ([], [])


def test_in_the_middle_it_is_kept_as_heard_and_closed() -> None:
    """What was received goes on being heard; what is missing is owed."""
    said = turns.AssistantSaid(response="r1", item="a1", text="one two", heard_ms=600)
    closing = ["response.output_audio.done", "response.output_audio_transcript.done", "response.done"]
    assert mended(CREATED, ITEM, WORDS, SOUND) == ([said, answered(whole=False)], closing)
    assert mended(CREATED, ITEM, WORDS, SOUND, goes_on=False) == ([said, answered(whole=True)], closing)


def test_nothing_is_owed_where_nothing_is_missing() -> None:
    """Only the word that it is done had not come."""
    said = turns.AssistantSaid(response="r1", item="a1", text="one two three four five")
    told = (CREATED, ITEM, WORDS, SOUND, ALL_SOUND, ALL_WORDS, ITEM_DONE)
    assert mended(*told) == ([said, answered(whole=True)], ["response.done"])
    assert mended(*told, DONE) == ([said, answered(whole=True)], [])


def test_what_was_said_of_an_output_is_not_asked_for_again() -> None:
    """It was told the output of a call before it began, and the call is owed nothing more, however far it came."""
    log: list[turns.TurnsMessage] = [
        *ASKED[:3],
        turns.Begun("r0", "7-5", 10),
        turns.ToolCalled("r0", "f0", "call_1", "weather", "{}"),
        turns.Answered("r0", "7-5", 10),
        turns.ToolAnswered("call_1", "{}"),
        turns.Begun("r1", "7-5", 10, calls=("call_1",)),
    ]
    told = (CREATED, ITEM, WORDS, SOUND, ALL_SOUND, ALL_WORDS, ITEM_DONE)
    for some in (told, told[:4]):
        notes, _ = mended(*some, log=log)
        rebuilt = rebuild([Entry(EntryId(1, n), message) for n, message in enumerate([*log, *notes], 1)])
        assert rebuilt is not None
        assert rebuilt.owed == []
    assert mended(CREATED, ITEM, WORDS, log=log) == ([], [])  # nothing was heard: it is asked again


def test_a_call_behind_the_words_is_owed() -> None:
    """The answer says something and then asks for a function: it is not done by what it says."""
    notes, _ = mended(CREATED, ITEM, WORDS, SOUND, ALL_SOUND, ALL_WORDS, ITEM_DONE, CALL)
    assert notes[-1] == answered(whole=False)


def test_what_the_user_interrupted_does_not_go_on() -> None:
    """It counts as answered, as far as it was heard."""
    notes, _ = mended(CREATED, ITEM, WORDS, SOUND, down.Interrupted("a1", 0, 300))
    assert notes == [turns.AssistantSaid(response="r1", item="a1", text="one", heard_ms=300), answered(whole=True)]


def test_what_was_noted_is_left_alone() -> None:
    """An answer of an earlier socket was dealt with then."""
    assert mended(CREATED, ITEM, WORDS, SOUND, DONE, log=[*ASKED, answered(whole=True)]) == ([], [])


def test_what_was_noted_before_its_last_sound_was_stored_is_owed() -> None:
    """`turns` may be ahead of `down` when a bridge dies: only what is in `down` is ever heard."""
    log = [*ASKED, turns.AssistantSaid("r1", "a1", "one two three four five"), answered(whole=True)]
    closing = ["response.output_audio.done", "response.output_audio_transcript.done", "response.done"]
    notes, told = mended(CREATED, ITEM, WORDS, SOUND, log=log)
    assert (notes[-1], told) == (answered(whole=False), closing)
    rebuilt = rebuild([Entry(EntryId(1, n), message) for n, message in enumerate([*log, *notes], 1)])
    assert rebuilt is not None
    assert rebuilt.goes_on
    assert [item["content"][0]["text"] for item in rebuilt.items] == ["Tell me.", "one two"]


def test_what_was_noted_and_asks_for_a_function_lacks_the_word_that_it_is_done() -> None:
    """The call is noted, too: nothing is said twice."""
    told = (CREATED, ITEM, WORDS, SOUND, ALL_SOUND, ALL_WORDS, ITEM_DONE, CALL)
    notes, closing = mended(*told, log=[*ASKED, answered(whole=True)])
    assert (notes[-1], closing) == (answered(whole=True), ["response.done"])


def test_a_client_of_the_protocol_is_told_the_end_of_all() -> None:
    """Also of an answer that had no word yet; once."""
    assert mended(CREATED, closes_all=True) == ([], ["response.done"])
    assert mended(CREATED, DONE, closes_all=True) == ([], [])


def test_what_is_owed_is_owed_until_it_is_said() -> None:
    """Also when the line breaks again before the model has begun with it."""
    log = [*ASKED, turns.AssistantSaid("r1", "a1", "one two", 600), answered(whole=False)]
    rebuilt = rebuild([Entry(EntryId(1, n), message) for n, message in enumerate(log, 1)])
    assert rebuilt is not None
    assert rebuilt.goes_on
    assert [item["content"][0]["text"] for item in rebuilt.items] == ["Tell me.", "one two"]
    log.append(turns.Answered(response="r2", pcm_id="7-5", offset=10))
    rebuilt = rebuild([Entry(EntryId(1, n), message) for n, message in enumerate(log, 1)])
    assert rebuilt is not None
    assert not rebuilt.goes_on


def test_speech_that_nobody_wrote_down_has_its_place() -> None:
    """Between the turn before it and its own end, as sound."""
    log = [
        *ASKED,
        answered(whole=True),
        turns.Committed(item="u2", pcm_id="7-9", offset=3),
        turns.Answered(response="r2", pcm_id="7-9", offset=3),
    ]
    rebuilt = rebuild([Entry(EntryId(1, n), message) for n, message in enumerate(log, 1)])
    assert rebuilt is not None
    (unwritten,) = rebuilt.unwritten
    assert (unwritten.item, unwritten.place) == ("u2", 1)
    assert (str(unwritten.start.entry), unwritten.start.samples) == ("7-5", 10)
    assert (str(unwritten.end.entry), unwritten.end.samples) == ("7-9", 3)


def test_what_is_not_said_again_is_told_though_nobody_has_answered_it() -> None:
    """In a quiet moment a turn may be there that the client has not asked about."""
    log = [*ASKED, answered(whole=True), turns.Committed("u2", "7-8", 0), turns.UserSaid("u2", "And?")]
    rebuilt = rebuild([Entry(EntryId(1, n), message) for n, message in enumerate(log, 1)], Position(EntryId(7, 9), 0))
    assert rebuilt is not None
    assert rebuilt.unanswered == []
    assert [item["content"][0]["text"] for item in rebuilt.items] == ["Tell me.", "And?"]


def test_what_is_not_answered_will_be_said_again() -> None:
    """Its item is void; typed words come again under the same name."""
    log = [*ASKED, answered(whole=True), turns.Committed("t1", "7-8", 0), turns.UserSaid("t1", "And?")]
    again = [turns.Removed("t1"), turns.Committed("t1", "7-8", 0), turns.UserSaid("t1", "And?")]
    last = turns.Answered(response="r2", pcm_id="7-8")
    for more, unanswered, users in ((list[turns.TurnsMessage](), ["t1"], 1), ([*again, last], [], 2)):
        rebuilt = rebuild([Entry(EntryId(1, n), message) for n, message in enumerate([*log, *more], 1)])
        assert rebuilt is not None
        assert rebuilt.unanswered == unanswered
        assert len(rebuilt.items) == users


CALLED: list[turns.TurnsMessage] = [
    *ASKED,
    turns.ToolCalled("r1", "f1", "call_1", "weather", '{"city":"Ulm"}', by_client=True),
    turns.Answered("r1", "7-5", 10),
]
"""What the client is to run, as it stands in `turns`; and `down` may lack any part of what follows."""
OF_CALL = {"response_id": "r1", "output_index": 0}
FUNCTION = {"id": "f1", "type": "function_call"}
TELLS = (
    CREATED,
    event("response.output_item.added", **OF_CALL, item=FUNCTION),
    event("response.function_call_arguments.done", **OF_CALL, item_id="f1", call_id="call_1", arguments="{}"),
    event("response.output_item.done", **OF_CALL, item=FUNCTION),
    DONE,
)


def opened_before(*told: down.DownMessage) -> list[down.DownMessage]:
    return [down.Opened(), *told]


@pytest.mark.parametrize("count", range(len(TELLS) + 1))
def test_a_function_that_the_client_is_to_run_is_told_to_its_end(count: int) -> None:
    """However much of it the bridge that died had said; and once."""
    notes, told = mended(*opened_before(*TELLS[:count]), log=CALLED, closes_all=True)
    assert notes == []
    assert told == [each.type for each in TELLS[count:]]


def test_the_call_that_is_told_again_is_the_one_that_was_made() -> None:
    rebuilt = rebuild([Entry(EntryId(1, n), message) for n, message in enumerate(CALLED, 1)])
    assert rebuilt is not None
    entries = [Entry(EntryId(2, n), message) for n, message in enumerate(opened_before(CREATED), 1)]
    last = mend(entries, rebuilt, goes_on=True, closes_all=True).told[-1]
    assert isinstance(last, down.ServerEvent)
    response = msgspec.json.decode(last.body)["response"]
    assert response["status"] == "completed"
    (call,) = response["output"]
    assert (call["call_id"], call["name"], call["arguments"]) == ("call_1", "weather", '{"city":"Ulm"}')


def test_a_call_that_was_answered_or_has_long_arrived_is_not_told_again() -> None:
    """Whoever has answered it knows of it; and of what has arrived nothing may be left in `down`."""
    answered_since = [*CALLED, turns.ToolAnswered("call_1", "{}")]
    assert mended(*opened_before(), log=answered_since, closes_all=True) == ([], [])
    assert mended(event("input_audio_buffer.speech_started"), log=CALLED, closes_all=True) == ([], [])
    later = event("response.created", response={"id": "r2"}), event("response.done", response={"id": "r2"})
    assert mended(*opened_before(*later), log=CALLED, closes_all=True) == ([], [])


def done(status: str = "completed", *, calls: tuple[dict[str, str], ...], **fields: Any) -> down.ServerEvent:
    return event("response.done", response={"id": "r1", "status": status, "output": calls} | fields)


WEATHER = {"id": "f1", "type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Ulm"}'}
OTHER = {"id": "f2", "type": "function_call", "call_id": "call_2", "name": "rooms"}


def test_a_function_that_the_client_was_told_to_run_counts_as_called_though_nobody_noted_it() -> None:
    """`turns` and `down` are written side by side: `down` may be ahead, too. Whoever was told to run it does so once."""
    told = (*opened_before(*TELLS[:-1]), done(calls=(WEATHER, OTHER), conversation_id="conv_1"))
    notes, closing = mended(*told, closes_all=True, offered=("rooms",))
    theirs = turns.ToolCalled("r1", "f1", "call_1", "weather", '{"city":"Ulm"}', by_client=True)
    ours = turns.ToolCalled("r1", "f2", "call_2", "rooms", "{}")
    assert (notes, closing) == ([theirs, ours, answered(whole=True)], [])
    rebuilt = rebuild([Entry(EntryId(1, n), message) for n, message in enumerate([*ASKED, *notes], 1)])
    assert rebuilt is not None
    assert (rebuilt.unanswered, rebuilt.theirs, [each.call for each in rebuilt.owed]) == ([], [theirs], [ours])
    log = [*ASKED, *notes]
    assert mended(*told, log=log, closes_all=True, offered=("rooms",)) == ([], [])  # whoever takes over next


def test_where_the_bridge_runs_all_functions_so_does_the_next_one() -> None:
    """Also of an answer that has said something before it called."""
    said = turns.AssistantSaid(response="r1", item="a1", text="one two three four five")
    called = turns.ToolCalled("r1", "f1", "call_1", "weather", '{"city":"Ulm"}')
    whole = done(calls=(WEATHER,))
    assert mended(*TELLS[:-1], whole) == ([called, answered(whole=True)], [])
    spoken = (CREATED, ITEM, WORDS, SOUND, ALL_SOUND, ALL_WORDS, ITEM_DONE)
    assert mended(*spoken, CALL, whole) == ([said, called, answered(whole=True)], [])


@pytest.mark.parametrize(
    "end",
    [
        done("cancelled", calls=(WEATHER,)),
        done("failed", calls=(WEATHER,)),
        done("incomplete", calls=({**WEATHER, "status": "incomplete"},)),
        done(calls=(WEATHER,), conversation_id=None),
    ],
    ids=["cancelled", "failed", "broken off", "out of band"],
)
def test_what_is_not_called_is_asked_anew(end: down.ServerEvent) -> None:
    assert mended(*opened_before(*TELLS[:-1]), end, closes_all=True) == ([], [])
