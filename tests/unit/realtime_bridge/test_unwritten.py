"""The sound of what the user said is kept until its words are there, but not for ever."""

from __future__ import annotations

from collections.abc import Sequence

from realtime_bridge.client_events import user_audio, user_text
from realtime_bridge.effects import Effect, Send, TellSound, Trim
from realtime_bridge.rebuild import Rebuilt, Unwritten
from realtime_bridge.spoken import START, Position
from realtime_bridge.tools import Owed
from streams import turns
from streams.ids import EntryId
from tests.unit.realtime_bridge.talking import Talk, sent


def trims(effects: Sequence[Effect]) -> list[EntryId]:
    return [effect.upto for effect in effects if isinstance(effect, Trim)]


def test_what_nobody_has_written_down_keeps_its_sound() -> None:
    """Should the line break, the next one is told the turn as it was said; with its words, the sound is not needed."""
    talk = Talk().ready()
    talk.records(1000)
    talk.committed("u1")
    for turn in (2, 3):
        talk.now += 9.0
        assert trims(talk.records(1000)) == []
        talk.committed(f"u{turn}")
        talk.written(f"u{turn}")
    talk.written("u1")
    talk.now += 9.0
    assert trims(talk.records(1000)) == [EntryId(1, 6)]


def test_what_was_told_as_sound_keeps_it_for_the_next_line() -> None:
    """The words of a turn that broke with its line come on no other; the one after next has to be told it too."""
    told = Rebuilt(turns.Opened(user="ann", door="mobile", turn_mode="utterance"))
    told.position = Position(EntryId(1, 4), 0)
    told.unwritten = [Unwritten("u0", 0, START, Position(EntryId(1, 2), 0))]
    talk = Talk(rebuilt=told).ready()
    for turn in (1, 2, 3):
        talk.now += 9.0
        assert trims(talk.records(1000)) == []
        talk.committed(f"u{turn}")
        talk.written(f"u{turn}")


def test_sound_is_not_kept_for_words_that_never_come() -> None:
    """A minute of speech later it is let go."""
    talk = Talk().ready()
    talk.records(20_000)
    talk.committed("u1")
    let_go = []
    for turn in range(2, 7):
        talk.now += 40.0
        let_go.append(trims(talk.records(20_000)))
        talk.committed(f"u{turn}")
        talk.written(f"u{turn}")
    assert let_go == [[], [], [], [], [EntryId(1, 10)]]


def test_a_recording_that_is_no_item_yet_keeps_its_sound() -> None:
    """The line may break before it is one, and then it is said again."""
    talk = Talk().ready()
    talk.records(1000)
    talk.now += 9.0
    assert trims(talk.records(1000)) == []


def test_what_is_told_as_sound_keeps_its_place_among_what_is_told_as_words() -> None:
    """And of whose sound nothing is left is not told at all."""
    told = Rebuilt(turns.Opened(user="ann", door="mobile", turn_mode="utterance"))
    words = user_text("Good morning.")
    told.items = [user_audio(b"", "u1"), words, user_audio(b"", "u3"), words]
    gone = Unwritten("u1", 0, START, Position(EntryId(1, 2), 0))
    kept = Unwritten("u3", 2, Position(EntryId(1, 4), 0), Position(EntryId(1, 7), 5))
    told.unwritten = [gone, kept]
    told.forget_sound(EntryId(1, 6))
    assert told.unwritten == [kept._replace(place=1)]
    talk = Talk(rebuilt=told)
    talk.conversation.dialled()
    effects = talk.hears({"type": "session.updated", "session": {"type": "realtime"}})
    items = [effect for effect in effects if isinstance(effect, TellSound) or sent([effect]) == ["conversation.item.create"]]
    assert [type(effect) for effect in items] == [Send, TellSound, Send]
    assert items[1] == TellSound("u3", kept.start, kept.end)


def test_sound_on_which_an_answer_waits_is_told_first() -> None:
    """Of many sessions that a bridge takes over at once: somebody listens there."""
    called = turns.ToolCalled("r1", "f1", "call_1", "weather", "{}")
    for due in ({"goes_on": True}, {"unanswered": ["u2"]}, {"owed": [Owed(called, START, None, is_answered=False)]}, {}):
        told = Rebuilt(turns.Opened(user="ann", door="mobile"), items=[user_audio(b"", "u1")], **due)
        told.unwritten = [Unwritten("u1", 0, START, Position(EntryId(1, 2), 0))]
        talk = Talk(rebuilt=told)
        talk.conversation.dialled()
        effects = talk.hears({"type": "session.updated", "session": {"type": "realtime"}})
        assert [each.due for each in effects if isinstance(each, TellSound)] == [bool(due)]
