"""A conversation as a document: both sides as heard, in the order in which it was said."""

from __future__ import annotations

import msgspec

from streams import turns
from streams.transcript import Assistant, Document, Ended, System, Tool, User, decode, encode, transcript

OPENED = turns.Opened(user="ann", door="mobile", persona="sun", history=(turns.HistoryLine("user", "Before."),))


def of(*log: turns.TurnsMessage, ended: Ended | None = None) -> Document:
    document = transcript("s1", "kitchen", [OPENED, *log], opened_ms=7, ended=ended)
    assert document is not None
    return document


def committed(item: str) -> turns.Committed:
    return turns.Committed(item=item, pcm_id="1-1", offset=0)


def test_a_turn_stands_where_it_was_said_however_late_it_was_written_down() -> None:
    document = of(
        committed("u1"),
        turns.AssistantSaid("r1", "a1", "Hello."),
        committed("u2"),
        turns.UserSaid("u1", "Hi."),
    )
    assert document.turns == (
        User("u1", "Hi."),
        Assistant("a1", "Hello.", response="r1", persona="sun"),
        User("u2"),
    )


def test_an_interrupted_answer_is_told_as_heard() -> None:
    """Whether it is interrupted while it is generated, or when it is only played any more."""
    (at_once,) = of(turns.AssistantSaid("r1", "a1", "Once upon", heard_ms=700)).turns
    assert at_once == Assistant("a1", "Once upon", "r1", "sun", heard_ms=700, interrupted=True)
    (later,) = of(
        turns.AssistantSaid("r1", "a1", "Once upon a time."), turns.AssistantSaid("", "a1", "Once upon", heard_ms=900)
    ).turns
    assert later == Assistant("a1", "Once upon", "r1", "sun", heard_ms=900, interrupted=True)


def test_what_nobody_heard_has_no_words() -> None:
    (answer,) = of(turns.AssistantSaid("r1", "a1", "Never heard."), turns.AssistantSaid("r1", "a1", "", heard_ms=0)).turns
    assert answer == Assistant("a1", "", "r1", "sun", heard_ms=0, interrupted=True)


def test_what_was_taken_back_was_not_said() -> None:
    document = of(committed("u1"), turns.Removed("u1"), turns.UserSaid("u1", "Hi."), turns.AssistantSaid("r", "a1", "Yes."))
    assert [turn.item for turn in document.turns] == ["a1"]


def test_whoever_says_it_is_told() -> None:
    """Who answers changes with the persona, and so do the instructions; the app's backend has a role of its own."""
    document = of(
        turns.InstructionsGiven("Be brief."),
        turns.AssistantSaid("r1", "a1", "One."),
        turns.PersonaChosen("mars", fresh=True),
        turns.AssistantSaid("r2", "a2", "Two."),
        committed("s1"),
        turns.SystemSaid("s1", "It rains."),
    )
    assert document.turns == (
        Assistant("a1", "One.", "r1", "sun"),
        Assistant("a2", "Two.", "r2", "mars"),
        System("s1", "It rains."),
    )
    assert (document.persona, document.instructions) == ("mars", None)
    assert of(turns.InstructionsGiven("Be brief.")).instructions == "Be brief."


def test_the_document_says_how_it_began_and_ended() -> None:
    live, ended = of(), of(ended=Ended(9, "client_left"))
    assert (live.status, live.ended_ms, live.reason) == ("live", None, None)
    assert (ended.status, ended.opened_ms, ended.ended_ms, ended.reason) == ("ended", 7, 9, "client_left")
    assert msgspec.json.decode(encode(ended)) == {
        "id": "s1",
        "user": "ann",
        "conversation": "kitchen",
        "door": "mobile",
        "opened_ms": 7,
        "turns": [],
        "status": "ended",
        "ended_ms": 9,
        "reason": "client_left",
        "persona": "sun",
        "history": [{"role": "user", "content": "Before."}],
    }
    assert decode(encode(ended)) == ended


def test_a_call_stands_where_it_was_made_with_what_it_was_answered() -> None:
    """The first answer counts. A call of an answer that never came to its end was no call: the model has decided again."""
    log = (
        turns.ToolCalled("r0", "t0", "c0", "weather", "{}"),
        turns.ToolCalled("r1", "t1", "c1", "weather", '{"city":"Rome"}'),
        turns.ToolCalled("r1", "t2", "c2", "time", "{}", by_client=True),
        turns.Answered("r1", "1-1"),
        turns.ToolAnswered("c1", "sunny"),
        turns.ToolAnswered("c1", "late"),
        turns.AssistantSaid("r2", "a1", "It is sunny."),
        turns.ToolCalled("", "t3", "c3", "told", "{}"),
        turns.ToolAnswered("c3", "{}", error="timeout"),
    )
    assert of(*log).turns == (
        Tool("t1", "c1", "weather", '{"city":"Rome"}', "sunny"),
        Tool("t2", "c2", "time", "{}", by_client=True),
        Assistant("a1", "It is sunny.", "r2", "sun"),
        Tool("t3", "c3", "told", "{}", "{}", "timeout"),
    )


def test_what_it_has_cost_is_the_sum_of_its_entries() -> None:
    used = turns.Used("response", "r1", "m", 1, status="completed", text_in=10, audio_out=20, audio_ms=900, nano_usd=1_500)
    heard = turns.Used("transcription", "u1", "t", 2, audio_ms=700, nano_usd=None)
    document = of(used, used, heard)
    assert document.usage is not None
    assert (document.usage.responses, document.usage.transcriptions, document.usage.unpriced) == (1, 1, 1)
    assert (document.usage.text_in, document.usage.audio_out, document.usage.spoken_ms) == (10, 20, 900)
    assert document.usd == "0.000001500"
    assert decode(encode(document)) == document
    assert of().usage is None


def test_a_log_without_its_beginning_is_no_conversation() -> None:
    assert transcript("s1", "c", [committed("u1")], opened_ms=7) is None
    assert transcript("s1", "c", [], opened_ms=7) is None
