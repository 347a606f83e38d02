"""When a client gets the first sound of each answer."""

from __future__ import annotations

import pytest

from gateway.first_bytes import BEGINNING_MS, FirstBytes
from streams import down
from streams.ids import EntryId
from streams.stopping import Played
from streams.timing import Reached


def entry(number: int) -> EntryId:
    return EntryId(7, number)


def sound(response: str = "r1", item: str = "i1", start_ms: int = 0, audio: bytes = b"\0\0") -> down.Audio:
    return down.Audio(response, item, 0, start_ms, audio)


def test_the_first_sound_of_each_answer_is_told_once() -> None:
    firsts = FirstBytes()
    for number, message in enumerate([sound(), sound(start_ms=100), sound("r2", "i2"), sound("r2", "i2", 100)], 1):
        firsts.read(entry(number), message)
        told = firsts.wrote(entry(number), 1_000 + number)
        assert told == {1: Reached("r1", "written", 1_001), 3: Reached("r2", "written", 1_003)}.get(number)


def test_it_is_told_when_it_is_written() -> None:
    """Not when it was read, which may be long before."""
    firsts = FirstBytes()
    firsts.read(entry(2), sound())
    assert firsts.wrote(entry(1), 1_000) is None
    assert firsts.wrote(entry(3), 1_200) == Reached("r1", "written", 1_200)


def test_packets_that_are_not_there_yet_are_no_sound() -> None:
    """An encoder keeps the first tenth of a second to itself."""
    firsts = FirstBytes()
    nothing = down.Coded("r1", "i1", 0, 0, b"", down.Packets([], 0, 480))
    something = down.Coded("r1", "i1", 0, 100, b"xy", down.Packets([2], 0, 480))
    firsts.read(entry(1), nothing)
    assert firsts.wrote(entry(1), 1_000) is None
    firsts.read(entry(2), something)
    assert firsts.wrote(entry(2), 1_100) == Reached("r1", "written", 1_100)


def test_the_middle_of_an_answer_is_not_its_beginning() -> None:
    """A client that comes back goes on where it was."""
    firsts = FirstBytes()
    firsts.read(entry(1), sound(start_ms=400))
    assert firsts.wrote(entry(1), 1_000) is None


def test_playback_began_as_long_ago_as_has_been_played() -> None:
    firsts = FirstBytes()
    firsts.read(entry(1), sound())
    firsts.wrote(entry(1), 1_000)
    assert firsts.played(Played("i1", 0, 0), 1_050) is None
    assert firsts.played(Played("i1", 0, 40), 1_100) == Reached("r1", "played", 1_060)
    assert firsts.played(Played("i1", 0, 240), 1_300) is None


@pytest.mark.parametrize("played", [Played("i0", 0, 40), Played("", 0, 40), Played("i1", 0, BEGINNING_MS + 1)])
def test_other_reports_say_nothing_of_the_beginning(played: Played) -> None:
    firsts = FirstBytes()
    assert firsts.played(played, 1_000) is None
    firsts.read(entry(1), sound())
    assert firsts.played(played, 1_100) is None
