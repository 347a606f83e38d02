"""When a turn's record is whole, and what stands in it."""

from __future__ import annotations

import msgspec
import pytest

from realtime_bridge import server_events as hear
from realtime_bridge.turn_times import ANSWERED_WITHIN_MS, PLAYED_WITHIN_MS, WRITTEN_WITHIN_MS, TurnTimes, stages
from streams import pcm, turns
from streams.ids import EntryId
from streams.messages import ClientEvent, Text
from streams.timing import Reached
from streams.up import UtteranceEnd


def entry(number: int) -> EntryId:
    return EntryId(7, number)


def created(response: str = "r1") -> hear.ResponseCreated:
    return hear.ResponseCreated(response=hear.Response(id=response))


def delta(response: str = "r1", item: str = "a1") -> hear.ResponseOutputAudioDelta:
    return hear.ResponseOutputAudioDelta(response_id=response, item_id=item, output_index=0, content_index=0, delta="")


def spoken(times: TurnTimes, *, committed_ms: int = 1_300, item: str = "u1") -> list[turns.Timed]:
    """Ten frames, the first at 1000, each 20 ms later; the turn ends in the sixth, which came at 1100."""
    for number in range(1, 11):
        times.said(entry(number), pcm.Audio(b"\0\0"), 980 + number * 20)
    return times.noted(turns.Committed(item, str(entry(6)), 3), committed_ms)


def answered(times: TurnTimes, at_ms: int = 1_600, response: str = "r1") -> None:
    times.heard(created(response), at_ms - 100)
    times.heard(delta(response), at_ms)


def test_a_turn_is_whole_when_the_client_has_begun_to_play_its_answer() -> None:
    """Each time is the first of its kind."""
    times = TurnTimes()
    assert spoken(times) == []
    answered(times)
    times.heard(delta(), 1_700)
    assert times.reached(Reached("r1", "written", 1_610), 1_612) == []
    assert times.reached(Reached("r1", "written", 1_900), 1_900) == []
    (timed,) = times.reached(Reached("r1", "played", 1_680), 1_700)
    assert timed == turns.Timed("u1", "r1", "a1", 1_100, 1_300, 1_600, 1_610, 1_680)
    assert stages(timed) == {"commit": 200, "model": 300, "delivery": 10, "playback": 70}
    assert (times.close(), times.deadline_ms) == ([], None)


def test_a_client_that_does_not_say_when_it_plays_is_waited_for_a_moment() -> None:
    times = TurnTimes()
    spoken(times)
    answered(times)
    times.reached(Reached("r1", "written", 1_610), 1_612)
    assert times.deadline_ms == 1_612 + PLAYED_WITHIN_MS
    assert times.overdue(times.deadline_ms - 1) == []
    (timed,) = times.overdue(times.deadline_ms)
    assert (timed.first_byte_ms, timed.playback_ms) == (1_610, None)
    assert stages(timed) == {"commit": 200, "model": 300, "delivery": 10}


def test_an_answer_that_no_client_gets_is_not_waited_for_for_ever() -> None:
    times = TurnTimes()
    spoken(times)
    answered(times)
    assert times.deadline_ms == 1_600 + WRITTEN_WITHIN_MS
    (timed,) = times.overdue(1_600 + WRITTEN_WITHIN_MS)
    assert (timed.first_delta_ms, timed.first_byte_ms) == (1_600, None)


def test_a_turn_without_an_answer_has_a_record_too() -> None:
    times = TurnTimes()
    spoken(times)
    (timed,) = times.overdue(1_300 + ANSWERED_WITHIN_MS)
    assert timed == turns.Timed("u1", "", "", 1_100, 1_300)


def test_the_next_turn_closes_the_one_before() -> None:
    """Whose answer may still be generated: it is not the next one's."""
    times = TurnTimes()
    spoken(times)
    times.heard(created("r1"), 1_500)
    (first,) = spoken(times, item="u2", committed_ms=2_000)
    assert (first.item, first.first_delta_ms) == ("u1", None)
    times.heard(delta("r1"), 2_050)
    answered(times, 2_400, "r2")
    (second,) = times.close()
    assert (second.item, second.response, second.first_delta_ms) == ("u2", "r2", 2_400)


def test_what_is_taken_back_was_no_turn() -> None:
    times = TurnTimes()
    spoken(times)
    assert times.noted(turns.Removed("u1"), 1_400) == []
    assert (times.close(), times.deadline_ms) == ([], None)


def test_the_answer_after_a_function_call_counts() -> None:
    """The first response said nothing: a listener has heard nothing yet."""
    times = TurnTimes()
    spoken(times)
    times.heard(created("r1"), 1_400)
    answered(times, 2_600, "r2")
    (timed,) = times.close()
    assert (timed.response, timed.first_delta_ms) == ("r2", 2_600)


def test_a_whole_recording_was_said_when_it_was_there() -> None:
    """Not when the transcoder had decoded it."""
    times = TurnTimes()
    times.said(entry(1), pcm.Audio(b"\0\0"), 1_450)
    times.said(entry(2), UtteranceEnd(samples=1, arrived_ms=1_000, source="m4a"), 1_450)
    times.noted(turns.Committed("u1", str(entry(2)), 0), 1_500)
    (timed,) = times.close()
    assert timed.said_ms == 1_000


@pytest.mark.parametrize("message", [Text("Hello"), ClientEvent("conversation.item.create", msgspec.Raw(b"{}"))])
def test_words_are_a_turn_without_a_commit(message: pcm.PcmMessage) -> None:
    times = TurnTimes()
    times.said(entry(1), message, 1_000)
    assert times.noted(turns.Committed("u1", str(entry(1)), 0), 1_002) == []
    answered(times, 1_400)
    (timed,) = times.close()
    assert (timed.item, timed.said_ms, timed.committed_ms, timed.first_delta_ms) == ("u1", 1_000, None, 1_400)
    assert stages(timed) == {"model": 400}


@pytest.mark.parametrize("text", [Text("Know this", role="system"), Text("Wait", respond=False)])
def test_words_that_nobody_answers_are_no_turn(text: Text) -> None:
    """Nor is a turn over when they are said."""
    times = TurnTimes()
    spoken(times)
    times.said(entry(11), text, 1_400)
    assert times.noted(turns.Committed("s1", str(entry(11)), 0), 1_402) == []
    answered(times)
    (timed,) = times.close()
    assert (timed.item, timed.first_delta_ms) == ("u1", 1_600)


def test_a_greeting_is_no_turn() -> None:
    times = TurnTimes()
    answered(times)
    assert times.reached(Reached("r1", "written", 1_610), 1_612) == []
    assert times.close() == []


def test_when_it_was_said_may_not_be_known() -> None:
    """Another bridge has read it, or a gateway of the time before has written it."""
    times = TurnTimes()
    times.said(entry(1), pcm.Audio(b"\0\0"), 0)
    times.noted(turns.Committed("u1", str(entry(1)), 0), 1_500)
    answered(times)
    (timed,) = times.close()
    assert timed.said_ms is None
    assert stages(timed) == {"model": 100}


def test_only_the_last_of_what_was_said_is_remembered() -> None:
    times = TurnTimes()
    for number in range(1, 2_001):
        times.said(entry(number), pcm.Audio(b"\0\0"), 20 * number)
    times.noted(turns.Committed("u1", str(entry(1_990)), 0), 40_100)
    times.noted(turns.Committed("u2", str(entry(5)), 0), 40_200)
    (timed,) = times.close()
    assert timed.said_ms is None
