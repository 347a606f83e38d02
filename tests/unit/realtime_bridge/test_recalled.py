"""What another bridge has said and may still be heard: found in `down`, and interrupted like any other answer."""

from __future__ import annotations

from realtime_bridge.conversation import Conversation
from realtime_bridge.effects import Stop
from realtime_bridge.rebuild import rebuild
from realtime_bridge.recalled import Recalled, recalled
from streams import down, turns
from streams.consumer import Entry
from streams.ids import ZERO, EntryId
from tests.unit.realtime_bridge.talking import PERSONAS, Talk, told, truncated_at

TENTH = bytes(4800)


def said(*messages: down.DownMessage) -> list[Entry[down.DownMessage]]:
    return [Entry(EntryId(5, n), message) for n, message in enumerate(messages, 1)]


def spoken(response: str, item: str, count: int) -> list[down.DownMessage]:
    return [down.Audio(response, item, 0, 100 * n, TENTH) for n in range(count)]


def test_what_has_not_arrived_may_still_be_heard() -> None:
    """And so may the last answer, all of which has arrived; an older one is over."""
    entries = said(*spoken("r1", "a1", 3), *spoken("r2", "a2", 3))
    assert recalled(entries, EntryId(5, 5)) == [Recalled("r2", "a2", 0, 300, 200)]
    assert recalled(entries, EntryId(5, 6)) == [Recalled("r2", "a2", 0, 300, 300)]
    assert recalled(entries, EntryId(5, 2)) == [Recalled("r1", "a1", 0, 300, 200), Recalled("r2", "a2", 0, 300, 0)]


def test_what_was_interrupted_is_not_heard_any_more() -> None:
    assert recalled(said(*spoken("r1", "a1", 3), down.Interrupted("a1", 0, 100)), ZERO) == []
    assert recalled([], ZERO) == []


def taken_over(parts: list[Recalled]) -> Talk:
    """Another bridge has answered; this one takes over, and its socket is configured."""
    opened = turns.Opened(user="ann", door="watch", turn_mode="server_vad")
    log: list[turns.TurnsMessage] = [
        opened,
        turns.AssistantSaid("r1", "a1", "one two three four five six seven eight nine ten"),
        turns.Answered("r1", "1-1"),
    ]
    rebuilt = rebuild([Entry(EntryId(4, n), message) for n, message in enumerate(log)])
    assert rebuilt is not None
    talk = Talk("server_vad")
    talk.conversation = Conversation(opened, PERSONAS, None)
    talk.conversation.restore(rebuilt, mends=True)
    talk.conversation.hear_on(parts, talk.now)
    return talk.ready()


def test_an_answer_of_another_bridge_is_interrupted() -> None:
    """Its rest is void, and what was heard of it is remembered, as the gateway says."""
    talk = taken_over([Recalled("r1", "a1", 0, 4000, 1000)])
    talk.now += 0.5
    effects = talk.hears({"type": "input_audio_buffer.speech_started", "item_id": "u1", "audio_start_ms": 0})
    assert [effect.parts for effect in effects if isinstance(effect, Stop)] == [(("a1", 0),)]
    settled = talk.stops(effects, {("a1", 0): 2000})
    assert told(settled) == [down.Interrupted("a1", 0, 2000)]
    assert truncated_at(settled) == [("a1", 0, 2000)]


def test_without_the_gateways_word_it_counts_as_heard_from_what_had_arrived() -> None:
    talk = taken_over([Recalled("r1", "a1", 0, 4000, 1000)])
    talk.now += 0.5
    talk.hears({"type": "input_audio_buffer.speech_started", "item_id": "u1", "audio_start_ms": 0})
    assert truncated_at(talk.wakes(0.2)) == [("a1", 0, 1500)]
