"""What the model says, gathered into answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import msgspec
import pytest

from gateway import answers
from gateway.answers import AnswerFailed, Answers, Gathered, Spoken, SpokenPackets, SpokenWhole, Written
from streams import down
from streams.messages import Message


def audio(data: bytes, item: str = "i1", response: str = "r1") -> down.Audio:
    return down.Audio(response, item, 0, 0, data)


def event(type_: str, **fields: object) -> down.ServerEvent:
    return down.ServerEvent(type_, msgspec.Raw(msgspec.json.encode({"type": type_, **fields})))


def said(text: str, response: str = "r1") -> down.ServerEvent:
    return event("response.output_audio_transcript.done", response_id=response, transcript=text)


def done(status: str = "completed", response: str = "r1", **details: object) -> down.ServerEvent:
    return event("response.done", response={"id": response, "status": status, "status_details": details or None})


def hear(heard: Answers, messages: Iterable[Message]) -> list[Gathered]:
    return [part for message in messages for part in heard.hear(cast(down.DownMessage, message))]


def test_audio_comes_as_it_is_said_and_the_text_once_after_it() -> None:
    script = [audio(b"ab"), said("Good"), audio(b"cd", "i2"), said("evening."), done()]
    assert hear(Answers(), script) == [Spoken("i1", b"ab"), Spoken("i2", b"cd"), Written("Good evening.")]


def test_whole_audio_comes_when_the_answer_is_done() -> None:
    script = [audio(b"ab"), said("Hello"), audio(b"cd"), done()]
    assert hear(Answers(whole=True), script) == [SpokenWhole("i1", b"abcd"), Written("Hello")]


def test_whole_audio_of_several_items_is_one_piece() -> None:
    assert hear(Answers(whole=True), [audio(b"ab"), audio(b"cd", "i2"), done()])[0] == SpokenWhole(None, b"abcd")


def test_answers_do_not_mix() -> None:
    script = [audio(b"ab"), audio(b"xy", "i2", "r2"), said("two", "r2"), done(response="r2"), said("one"), done()]
    assert hear(Answers(whole=True), script) == [
        SpokenWhole("i2", b"xy"),
        Written("two"),
        SpokenWhole("i1", b"ab"),
        Written("one"),
    ]


def test_what_is_interrupted_is_void_also_when_it_comes_late() -> None:
    script = [audio(b"ab"), down.Interrupted("i1", 0, 0), audio(b"cd"), done("cancelled")]
    assert hear(Answers(whole=True), script) == []
    assert hear(Answers(), script) == [Spoken("i1", b"ab"), Written("")]


def test_an_interruption_after_the_answer_was_done_voids_nothing_new() -> None:
    script = [audio(b"ab"), done(), down.Interrupted("i1", 0, 0), audio(b"xy", "i2", "r2"), done(response="r2")]
    assert hear(Answers(whole=True), script)[-2:] == [SpokenWhole("i2", b"xy"), Written("")]


@pytest.mark.parametrize("status", ["completed", "cancelled", "incomplete"])
def test_a_response_that_said_nothing_is_no_answer(status: str) -> None:
    assert hear(Answers(), [done(status)]) == []


@pytest.mark.parametrize("status", ["completed", "cancelled", "incomplete"])
def test_a_response_that_said_something_is_one(status: str) -> None:
    assert hear(Answers(), [said("Hello"), done(status)]) == [Written("Hello")]


def test_a_failure_names_its_cause_and_keeps_what_there_is() -> None:
    failed = done("failed", type="failed", error={"message": "Out of memory."})
    assert hear(Answers(), [said("Hel"), failed]) == [
        AnswerFailed("The model could not answer: Out of memory."),
        Written("Hel"),
    ]
    assert hear(Answers(), [done("failed")]) == [AnswerFailed("The model could not answer.")]
    assert hear(Answers(), [done("failed", reason="content_filter")]) == [
        AnswerFailed("The model could not answer: content_filter")
    ]


def test_a_takeover_gives_what_was_kept() -> None:
    """No `response.done` will come for it; the new bridge goes on in an answer of its own."""
    script = [audio(b"ab"), down.EpochTaken("b2"), audio(b"cd", "i2", "r2"), done(response="r2")]
    assert hear(Answers(whole=True), script) == [SpokenWhole("i1", b"ab"), SpokenWhole("i2", b"cd"), Written("")]


def test_the_end_gives_what_was_kept() -> None:
    assert hear(Answers(whole=True), [audio(b"ab"), said("Hi"), down.Ended("")]) == [SpokenWhole("i1", b"ab"), Written("Hi")]


def test_a_format_counts_from_the_next_answer_on() -> None:
    heard = Answers()
    assert heard.hear(audio(b"ab")) == [Spoken("i1", b"ab")]
    heard.whole = True
    assert hear(heard, [audio(b"cd"), audio(b"xy", "i2", "r2"), done(response="r2")])[0] == Spoken("i1", b"cd")


def test_a_very_long_answer_comes_in_several_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_WHOLE_BYTES", 4)
    script = [audio(b"ab"), audio(b"cd"), audio(b"ef"), said("long"), done()]
    assert hear(Answers(whole=True), script) == [SpokenWhole("i1", b"abcd"), SpokenWhole("i1", b"ef"), Written("long")]


def test_what_does_not_concern_the_client_is_passed_over() -> None:
    script = [
        down.Opened(),
        down.PersonaSet("luna"),
        down.Failed("x", "y"),
        event("session.updated", session={}),
    ]
    assert hear(Answers(), script) == []


def test_an_event_that_reads_wrong_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError):
        Answers().hear(event("response.done", response=1))


# ── play streams ────────────────────────────────────────────────────────────────────────────────────────────────────


def coded(item: str, sizes: list[int], response: str = "r1") -> down.Coded:
    return down.Coded(response, item, 0, 0, b"x" * sum(sizes), down.Packets(sizes, -156, 480))


def ended(*tails: down.Tail, kind: str = "response.output_audio.done") -> down.ServerEvent:
    return down.ServerEvent(kind, msgspec.Raw(b"{}"), b"y" * sum(sum(tail.sizes) for tail in tails), list(tails))


def tail(item: str, sizes: list[int], samples: int = 480) -> down.Tail:
    return down.Tail(sizes, 0, samples, item=item, part=0, response="r1", padding=7)


def test_packets_are_given_as_they_come() -> None:
    """Also to whom answers are given whole; none of them is nothing."""
    answers = Answers(whole=True)
    assert answers.hear(coded("i1", [])) == []
    packets = down.Packets([3, 4], -156, 480)
    assert answers.hear(coded("i1", [3, 4])) == [SpokenPackets("i1", 0, b"x" * 7, packets)]
    assert not answers.holds_back
    assert not answers.is_idle


def test_the_end_of_a_part_comes_before_its_event() -> None:
    answers = Answers()
    last = tail("i1", [3])
    assert answers.hear(ended(last)) == [SpokenPackets("i1", 0, b"yyy", last)]
    assert answers.hear(ended(tail("i1", [2], samples=0), tail("i2", [4], samples=0))) == [
        Spoken("i1", b"yy"),
        Spoken("i2", b"yyyy"),
    ]


def test_the_last_samples_belong_to_the_whole() -> None:
    answers = Answers(whole=True)
    answers.hear(down.Audio("r1", "i1", 0, 0, b"ab"))
    assert answers.hear(ended(tail("i1", [2], samples=0))) == []
    body = msgspec.json.encode({"response": {"id": "r1", "status": "completed"}})
    done = answers.hear(down.ServerEvent("response.done", msgspec.Raw(body)))
    assert done[0] == SpokenWhole("i1", b"abyy")
    assert answers.is_idle


def test_what_was_interrupted_has_no_end() -> None:
    answers = Answers()
    answers.hear(coded("i1", [3]))
    answers.hear(down.Interrupted("i1", 0, 5))
    assert answers.hear(coded("i1", [3])) == []
    assert answers.hear(ended(tail("i1", [3]))) == []
