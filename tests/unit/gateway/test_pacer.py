"""Playback pace: never far ahead, never doubled, never caught up; silence fills exactly."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pacer import AHEAD_S, FRAME_S, REMEMBERED_VOID, SILENCE_AHEAD_S, Pacer

RATES = [16_000, 24_000]


def ramp(samples: int, first: int = 1) -> bytes:
    """Samples that can be told apart, and from silence."""
    return ((np.arange(samples) + first) % 30_000 + 1).astype("<i2").tobytes()


def run(pacer: Pacer[int], now: float, until: float) -> tuple[list[tuple[float, bytes]], float]:
    """As a shell does that is never late: what was sent, and when; and the time after."""
    sent = []
    while (at := max(now, pacer.deadline())) <= until:
        now = at
        sent.append((now, pacer.due(now).audio))
    return sent, until


def joined(sent: list[tuple[float, bytes]]) -> bytes:
    return b"".join(audio for _, audio in sent)


@pytest.mark.parametrize("rate", RATES)
def test_silence_is_as_long_as_the_time(rate: int) -> None:
    """To the sample, with two frames in hand; in frames of 40 ms."""
    pacer = Pacer[int](rate, 100.0)
    sent, _ = run(pacer, 100.0, 110.001)
    assert not any(joined(sent))
    assert len(joined(sent)) // 2 == round((10 + SILENCE_AHEAD_S) * rate)
    assert {len(audio) // 2 for _, audio in sent[1:]} == {round(FRAME_S * rate)}


@pytest.mark.parametrize("rate", RATES)
def test_the_first_word_goes_out_at_once_and_then_at_pace(rate: int) -> None:
    pacer = Pacer[int](rate, 0.0)
    run(pacer, 0.0, 1.0)
    audio = ramp(rate)
    pacer.feed("a", audio)
    first = pacer.due(1.0).audio
    assert first == audio[: len(first)]
    assert (AHEAD_S - SILENCE_AHEAD_S) * rate <= len(first) // 2 <= AHEAD_S * rate
    sent, _ = run(pacer, 1.0, 3.0)
    assert (first + joined(sent)).startswith(audio)
    assert max(later - at for (at, _), (later, _) in pairwise(sent)) <= 0.2


def test_marks_come_with_their_last_sample() -> None:
    pacer = Pacer[int](16_000, 0.0)
    pacer.due(0.0)
    pacer.feed("a", ramp(1_600), 1)
    pacer.mark(2)
    pacer.feed("a", ramp(16_000), 3)
    sent, marks, now = 0, {}, 0.0
    while not pacer.is_empty:
        now = max(now, pacer.deadline())
        due = pacer.due(now)
        sent += len(due.audio) // 2
        if due.mark is not None:
            marks[due.mark] = sent
    assert 1_600 <= marks[2] < 1_600 + 16_000
    assert marks[3] >= 17_600


def test_a_mark_alone_is_due_at_once() -> None:
    pacer = Pacer[int](16_000, 5.0)
    pacer.due(5.0)
    pacer.mark(7)
    assert pacer.deadline() <= 5.0
    due = pacer.due(5.0)
    assert (due.audio, due.mark) == (b"", 7)
    assert pacer.is_empty


def test_an_interruption_cuts_at_once() -> None:
    """What was sent is sent; then silence, and the next answer. The marks of what is void are not lost."""
    pacer = Pacer[int](24_000, 0.0)
    pacer.feed("a", ramp(24_000), 1)
    sent, now = run(pacer, 0.0, 0.5)
    pacer.void("a")
    assert pacer.waiting_bytes == 0
    pacer.feed("a", ramp(24_000), 2)
    due = pacer.due(now)
    assert (due.audio, due.mark) == (b"", 2)
    after, now = run(pacer, now, 1.5)
    assert not any(joined(after))
    assert len(joined(sent)) // 2 <= (0.5 + AHEAD_S) * 24_000
    pacer.feed("b", ramp(100), 3)
    assert ramp(100) in joined(run(pacer, now, 2.0)[0])


def test_speech_cuts_all_that_waits_and_the_rest_of_the_last_item() -> None:
    """Also when that has just been sent to its end; what comes under another name is new."""
    pacer = Pacer[int](24_000, 0.0)
    pacer.feed("a", ramp(2_400))
    pacer.due(0.0)
    pacer.feed("b", ramp(24_000))
    pacer.cut()
    pacer.feed("b", ramp(10))
    assert pacer.waiting_bytes == 0
    pacer.due(0.0)
    pacer.feed("c", ramp(10))
    run(pacer, 0.0, 0.5)
    pacer.cut()
    pacer.feed("c", ramp(10))
    assert pacer.waiting_bytes == 0
    pacer.feed("d", ramp(10))
    assert pacer.waiting_bytes == 20


def test_the_void_items_that_are_remembered_are_bounded() -> None:
    pacer = Pacer[int](24_000, 0.0)
    for number in range(REMEMBERED_VOID + 1):
        pacer.void(f"item{number}")
    pacer.feed("item0", ramp(10))
    assert pacer.waiting_bytes == 20
    pacer.feed(f"item{REMEMBERED_VOID}", ramp(10))
    assert pacer.waiting_bytes == 20


def test_behind_schedule_the_schedule_slips() -> None:
    """After a stall of a second nothing of that second is caught up."""
    pacer = Pacer[int](16_000, 0.0)
    pacer.feed("a", ramp(10 * 16_000))
    run(pacer, 0.0, 1.0)
    assert len(pacer.due(3.0).audio) // 2 == round(AHEAD_S * 16_000)
    assert pacer.deadline() == pytest.approx(3.0 + FRAME_S, abs=1e-3)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.floats(0, 0.7)),
        st.tuples(st.just("late"), st.floats(0, 1.5)),
        st.tuples(st.just("feed"), st.integers(0, 9_000)),
    ),
    max_size=40,
)


@given(steps=steps, rate=st.sampled_from(RATES), start=st.floats(0, 1e6))
def test_never_ahead_and_nothing_lost_or_doubled(steps: list[tuple[str, float]], rate: int, start: float) -> None:
    """However audio comes and however late the shell is: without an interruption all of it is sent, once and in order, with
    nothing but silence between, and at no time is more sent than the time that has gone by and 200 ms."""
    pacer = Pacer[int](rate, start)
    now, fed, sent, marks = start, b"", b"", []

    def ask() -> None:
        nonlocal sent
        due = pacer.due(now)
        sent += due.audio
        if due.mark is not None:
            marks.append(due.mark)
        assert len(sent) / 2 <= (now - start + AHEAD_S) * rate + 1

    for what, amount in steps:
        if what == "feed":
            audio = ramp(int(amount), len(fed) // 2)
            fed += audio
            pacer.feed("a", audio, len(fed))
        elif what == "late":
            now += amount
            ask()
        else:
            until = now + amount
            while (at := max(now, pacer.deadline())) <= until:
                before, now = len(sent), at
                ask()
                assert len(sent) > before or pacer.deadline() > now or pacer.is_empty
            now = until
    while not pacer.is_empty:
        now = max(now, pacer.deadline())
        ask()
    samples = np.frombuffer(sent, "<i2")
    assert samples[samples != 0].tobytes() == fed
    assert marks == sorted(marks)
    assert not fed or marks[-1] == len(fed)
