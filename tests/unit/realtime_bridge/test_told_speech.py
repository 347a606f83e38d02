"""What a new socket is told as sound is what was said, and not the silence between two turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from realtime_bridge.effects import Effect, Record, TellSound, Trim
from realtime_bridge.rebuild import Rebuilt, rebuild
from realtime_bridge.spoken import SAMPLES_PER_MS, START, Position
from realtime_bridge.user_speech import BEFORE_SPEECH_MS
from streams import pcm, turns
from streams.codec import encode
from streams.consumer import Entry
from streams.ids import EntryId
from tests.unit.realtime_bridge.talking import MS, Talk

ENTRY_MS = 40


class Listened(Talk):
    """A client that streams in entries of 40 ms, and what was noted of it."""

    def __init__(self) -> None:
        super().__init__("server_vad")
        self.log: list[turns.TurnsMessage] = [turns.Opened(user="ann", door="watch")]
        self.trims: list[EntryId] = []
        self.ready()

    def note(self, effects: Sequence[Effect]) -> None:
        self.log += [effect.message for effect in effects if isinstance(effect, Record)]
        self.trims += [effect.upto for effect in effects if isinstance(effect, Trim)]

    def streams(self, ms: int) -> None:
        for _ in range(ms // ENTRY_MS):
            self.note(self.says(pcm.Audio(bytes(ENTRY_MS * MS))))

    def turn(
        self, item: str, start_ms: int | None, end_ms: int | None, *, named: str | None = None, stops: bool = True
    ) -> None:
        kind = "input_audio_buffer.speech_"
        self.hears({"type": f"{kind}started", "item_id": item if named is None else named, "audio_start_ms": start_ms})
        if stops:
            self.hears({"type": f"{kind}stopped", "item_id": item, "audio_end_ms": end_ms})
        self.note(self.committed(item))

    def rebuilt(self) -> Rebuilt:
        """All that was said is answered, and no words were written down."""
        end = EntryId(1, 10_000)
        found = rebuild(
            [Entry(EntryId(1, n), each) for n, each in enumerate([*self.log, turns.Answered("r1", str(end))], 1)]
        )
        assert found is not None
        return found


def place_ms(position: Position) -> float:
    """Of a sample of the client's."""
    return 0 if position == START else (position.entry.right - 1) * ENTRY_MS + position.samples / SAMPLES_PER_MS


def told(rebuilt: Rebuilt) -> list[tuple[float, float]]:
    """From where to where each is told as sound, in what the client has said."""
    talk = Talk("server_vad", rebuilt=rebuilt)
    talk.conversation.dialled()
    effects = talk.hears({"type": "session.updated", "session": {"type": "realtime"}})
    return [(place_ms(each.start), place_ms(each.end)) for each in effects if isinstance(each, TellSound)]


def test_the_silence_before_a_turn_is_not_told() -> None:
    """Nor between two of them."""
    talk = Listened()
    talk.streams(12_000)
    talk.turn("u1", 10_000, 11_000)
    talk.streams(10_000)
    talk.turn("u2", 20_010, 21_010)
    assert told(talk.rebuilt()) == [(10_000 - BEFORE_SPEECH_MS, 11_000), (20_010 - BEFORE_SPEECH_MS, 21_010)]


def test_the_beginning_is_kept_with_the_turn_and_what_is_before_it_let_go() -> None:
    """So that whoever tells it finds it in `pcm`."""
    talk = Listened()
    for number in range(1, 5):
        talk.streams(12_000)
        talk.turn(f"u{number}", number * 12_000 - 2_000, number * 12_000 - 1_000)
    ((start, _), *_) = told(talk.rebuilt())
    assert start == 10_000 - BEFORE_SPEECH_MS
    assert 9_000 < place_ms(Position(talk.trims[-1], ENTRY_MS * SAMPLES_PER_MS)) <= start


@pytest.mark.parametrize(
    "how",
    [
        {"start_ms": None, "end_ms": 11_000},
        {"start_ms": 0, "end_ms": 11_000},
        {"start_ms": 11_400, "end_ms": 11_000},
        {"start_ms": 100_000, "end_ms": 11_000},
        {"start_ms": -3, "end_ms": 11_000},
        {"start_ms": 10_000, "end_ms": None},
        {"start_ms": 10_000, "end_ms": 11_000, "named": "u7"},
        {"start_ms": 10_000, "end_ms": 11_000, "stops": False},
    ],
    ids=["none", "zero", "behind the end", "in the future", "negative", "without end", "of another one", "by the client"],
)
def test_where_no_beginning_is_known_it_is_all_since_the_turn_before(how: dict[str, Any]) -> None:
    """What the client commits itself is all that it has said."""
    talk = Listened()
    talk.streams(4_000)
    talk.turn("u1", 2_000, 3_000)
    talk.streams(8_000)
    talk.turn("u2", **how)
    end = 11_000 if how["end_ms"] and how.get("stops", True) else 12_000
    assert told(talk.rebuilt())[1] == (3_000, end)


def test_no_beginning_lies_in_the_turn_before() -> None:
    """300 ms are kept before it, and somebody may go on sooner."""
    talk = Listened()
    talk.streams(4_000)
    talk.turn("u1", 2_000, 3_000)
    talk.streams(2_000)
    talk.turn("u2", 3_100, 4_500)
    assert told(talk.rebuilt()) == [(2_000 - BEFORE_SPEECH_MS, 3_000), (3_000, 4_500)]


def test_a_long_turn_keeps_its_beginning() -> None:
    """Though more is said before it is an item."""
    talk = Listened()
    talk.streams(12_000)
    talk.hears({"type": "input_audio_buffer.speech_started", "item_id": "u1", "audio_start_ms": 10_000})
    talk.streams(60_000)
    talk.hears({"type": "input_audio_buffer.speech_stopped", "item_id": "u1", "audio_end_ms": 70_000})
    talk.streams(800)
    talk.note(talk.committed("u1"))
    assert told(talk.rebuilt()) == [(10_000 - BEFORE_SPEECH_MS, 70_000)]
    assert talk.trims == []
    talk.streams(24_000)
    talk.written("u1")
    talk.streams(24_000)
    assert talk.trims  # it is let go in the end


def test_what_never_becomes_an_item_is_not_kept_for_ever() -> None:
    """A server may hear an end, and drop what it has heard without a word."""
    talk = Listened()
    talk.streams(2_000)
    talk.hears({"type": "input_audio_buffer.speech_started", "item_id": "u1", "audio_start_ms": 1_000})
    talk.hears({"type": "input_audio_buffer.speech_stopped", "item_id": "u1", "audio_end_ms": 2_000})
    talk.streams(40_000)
    assert talk.trims
    assert talk.log[1:] == []  # and nobody asks for an answer to nothing


def test_an_entry_of_an_older_bridge_has_no_beginning() -> None:
    """And what has none is written as it always was."""
    fields = {b"kind": b"committed", b"item": b"u1", b"pcm_id": b"7-5", b"offset": b"10"}
    old = turns.Committed("u1", "7-5", 10)
    assert turns.decoder.decode(fields) == old
    assert list(fields.items()) == list(zip(*[iter(encode(old))] * 2, strict=True))
    new = turns.Committed("u1", "7-5", 10, "7-3", 0)
    assert turns.decoder.decode(dict(zip(*[iter(encode(new))] * 2, strict=True))) == new
