"""When a session is warned and when it ends: by money, by length, by its user's day, by silence."""

from __future__ import annotations

from decimal import Decimal

import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.budget import IDLE, Budget, Idleness, Limits, Stop, Verdict, Warn, nano_usd
from streams import pcm
from streams.messages import Commit, Text
from streams.usage import NANO_USD, Spent
from tests.unit.realtime_bridge.billing import began, done, event

START = 1_795_000_000_000
HOUR = 3_600_000
MS = 48


def codes(verdicts: list[Verdict]) -> list[str]:
    return [verdict[0] for verdict in verdicts]


def test_without_limits_nothing_is_said() -> None:
    budget = Budget(Limits(), START)
    assert budget.look(START + 100 * HOUR, 10**15, Spent(nano_usd=10**15, ms=10**15)) == []
    assert budget.next_look(START) is None


def test_a_session_that_costs_too_much() -> None:
    """Told once at 80 %, ended at all of it."""
    budget = Budget(Limits(session_nano_usd=NANO_USD), START)
    assert budget.look(START, NANO_USD * 8 // 10 - 1, Spent()) == []
    assert codes(budget.look(START, NANO_USD * 8 // 10, Spent())) == ["usage_limit_near"]
    assert budget.look(START, NANO_USD - 1, Spent()) == []
    (end,) = budget.look(START, NANO_USD, Spent())
    assert isinstance(end, Stop)
    assert end.reason == "usage_limit"


def test_a_session_that_lasts_too_long() -> None:
    """It is woken for it, without anything happening."""
    budget = Budget(Limits(session_ms=HOUR), START)
    near = budget.next_look(START)
    assert near == START + HOUR * 8 // 10
    (warning,) = budget.look(near, 0, Spent())
    assert warning == Warn("session_ends_soon", "This conversation ends in 12 minutes.")
    over = budget.next_look(near)
    assert over == START + HOUR
    assert codes(budget.look(over - 1, 0, Spent())) == []
    assert codes(budget.look(over, 0, Spent())) == ["session_too_long"]


@pytest.mark.parametrize("spent", [Spent(nano_usd=10 * NANO_USD), Spent(ms=HOUR)])
def test_a_user_who_has_used_up_the_day(spent: Spent) -> None:
    """By dollars or by minutes, over all sessions; also one who has only now begun."""
    (end,) = Budget(Limits(day_nano_usd=10 * NANO_USD, day_ms=HOUR), START).look(START, 0, spent)
    assert isinstance(end, Stop)
    assert end.reason == "usage_limit"
    assert "tomorrow" in end.sentence


def test_each_limit_warns_for_itself() -> None:
    budget = Budget(Limits(session_nano_usd=100, day_nano_usd=1000, day_ms=HOUR), START)
    assert codes(budget.look(START, 80, Spent(nano_usd=100))) == ["usage_limit_near"]
    assert codes(budget.look(START, 85, Spent(nano_usd=800, ms=HOUR * 9 // 10))) == ["usage_limit_near"] * 2
    assert budget.look(START, 99, Spent(nano_usd=900, ms=HOUR * 95 // 100)) == []


@given(st.integers(1, 10**12), st.lists(st.integers(0, 10**11), max_size=60))
def test_one_warning_at_most_and_one_end(limit: int, steps: list[int]) -> None:
    """However the money grows: a warning never comes after the end, and never twice; what is below 80 % is silent."""
    budget, spent = Budget(Limits(session_nano_usd=limit), START), 0
    told: list[str] = []
    for step in steps:
        spent += step
        told += codes(budget.look(START, spent, Spent()))
        if spent >= limit:
            break
    assert told in ([], ["usage_limit_near"], ["usage_limit"], ["usage_limit_near", "usage_limit"])
    assert (told[-1:] == ["usage_limit"]) is (spent >= limit)
    assert bool(told) is (spent * 100 >= limit * 80)


def test_dollars_of_a_setting_are_exact() -> None:
    assert nano_usd(Decimal("0.1")) + nano_usd(Decimal("0.2")) == nano_usd(Decimal("0.3")) == 300_000_000


# ---- silence --------------------------------------------------------------------------------------------------------


def idleness() -> Idleness:
    return Idleness(Limits(idle_ms=60_000), START)


def test_nobody_speaks() -> None:
    """What a microphone hears all the time is nothing, as long as the model finds no speech in it."""
    silence = idleness()
    for second in range(60):
        silence.said(pcm.Audio(bytes(4800)), START + second * 1000)
    assert silence.look(START + 59_999) == []
    assert codes(silence.look(START + 60_000)) == [IDLE]


def test_speech_that_goes_on_is_no_silence() -> None:
    """However long it is; and what follows it begins anew."""
    silence = idleness()
    silence.heard(event("input_audio_buffer.speech_started", item_id="i"), START + 50_000)
    assert silence.look(START + 500_000) == []
    silence.heard(event("input_audio_buffer.speech_stopped", item_id="i"), START + 500_000)
    assert silence.ends_at(START + 500_000) == START + 560_000


def test_an_answer_is_heard_out_before_the_silence_begins() -> None:
    """It is generated faster than it is heard: 20 s of it here, within 2 s."""
    silence = idleness()
    silence.heard(began("r"), START + 1000)
    for number in range(20):
        delta = pybase64.b64encode(bytes(1000 * MS)).decode()
        at = START + 1000 + 100 * number
        silence.heard(event("response.output_audio.delta", response_id="r", item_id="a", delta=delta), at)
    assert silence.look(START + 500_000) == [], "it runs"
    silence.heard(done("r", None), START + 3000)
    assert silence.ends_at(START + 3000) == START + 21_000 + 60_000


def test_speaking_into_an_answer_ends_what_was_still_to_be_heard() -> None:
    silence = idleness()
    delta = pybase64.b64encode(bytes(30_000 * MS)).decode()
    silence.heard(event("response.output_audio.delta", response_id="r", item_id="a", delta=delta), START)
    silence.heard(event("input_audio_buffer.speech_started", item_id="i"), START + 1000)
    silence.heard(event("input_audio_buffer.speech_stopped", item_id="i"), START + 2000)
    assert silence.ends_at(START + 2000) == START + 62_000


@pytest.mark.parametrize("message", [Text("hello"), Commit(), pcm.UtteranceEnd(samples=2400, arrived_ms=0, source="m4a")])
def test_whoever_says_something_is_there(message: pcm.PcmMessage) -> None:
    silence = idleness()
    silence.said(message, START + 40_000)
    assert silence.ends_at(START + 40_000) == START + 100_000


def test_with_push_to_talk_sound_is_speech() -> None:
    """Nothing but a held button sends any."""
    silence = idleness()
    silence.heard(event("session.updated", session={"audio": {"input": {"turn_detection": None}}}), START)
    silence.said(pcm.Audio(bytes(4800)), START + 40_000)
    assert silence.ends_at(START + 40_000) == START + 100_000


def test_a_break_is_a_new_beginning() -> None:
    """What ran on the broken socket runs no more."""
    silence = idleness()
    silence.heard(began("r"), START)
    silence.socket_closed(START + 10_000)
    assert silence.ends_at(START + 10_000) == START + 70_000


def test_without_a_limit_silence_is_golden() -> None:
    silence = Idleness(Limits(), START)
    assert silence.ends_at(START) is None
    assert silence.look(START + 10**12) == []
