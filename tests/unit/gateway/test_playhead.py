"""How far a listener is: by the clock, by what was said about it, and through everything that an answer may be made of."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from gateway.pace import AHEAD_S, Pace
from gateway.playhead import Playhead
from streams import down
from streams.ids import EntryId
from streams.stopping import Played

TENTH = bytes(4800)


def entry(n: int) -> EntryId:
    return EntryId(1, n)


def spoken(playhead: Playhead, count: int, *, now: float = 0.0, item: str = "a", first: int = 0) -> None:
    """So many tenths of a second are sent at once."""
    for n in range(count):
        playhead.read(entry(first + n), down.Audio("r", item, 0, 100 * n, TENTH))
    playhead.wrote(entry(first + count - 1), now)


def test_what_is_sent_is_heard_in_real_time() -> None:
    """From the moment at which it was sent, whatever of it is sent ahead."""
    playhead = Playhead()
    spoken(playhead, 20, now=5.0)
    assert playhead.heard((("a", 0),), 5.0) == (("a", 0, 0),)
    assert playhead.heard((("a", 0),), 5.73) == (("a", 0, 730),)
    assert playhead.heard((("a", 0),), 9.0) == (("a", 0, 2000),)


def test_the_next_item_begins_when_the_one_before_has_ended() -> None:
    playhead = Playhead()
    spoken(playhead, 10, now=0.0)
    spoken(playhead, 10, now=0.2, item="b", first=10)
    assert playhead.heard((("a", 0), ("b", 0), ("c", 0)), 1.25) == (("a", 0, 1000), ("b", 0, 250))


def test_what_is_not_sent_is_not_heard() -> None:
    """It waits here, or was dropped here: either way this connection knows of it."""
    playhead = Playhead()
    for n in range(10):
        playhead.read(entry(n), down.Audio("r", "a", 0, 100 * n, TENTH))
    playhead.wrote(entry(2), 0.0)
    assert playhead.heard((("a", 0),), 9.0) == (("a", 0, 300),)
    playhead.drop("a")
    assert playhead.heard((("a", 0),), 9.0) == (("a", 0, 300),)
    playhead.read(entry(10), down.Audio("r", "b", 0, 0, TENTH))
    playhead.drop("b")
    assert playhead.heard((("b", 0),), 9.0) == (("b", 0, 0),)


def test_what_another_connection_has_brought_counts_as_heard() -> None:
    """A redial takes an item up in its middle."""
    playhead = Playhead()
    playhead.read(entry(1), down.Audio("r", "a", 0, 700, TENTH))
    assert playhead.heard((("a", 0),), 0.0) == (("a", 0, 700),)


def test_a_client_that_reports_is_believed() -> None:
    """It is late by a third of a second, and goes on from there in real time; all behind it is as late."""
    playhead = Playhead()
    spoken(playhead, 10)
    spoken(playhead, 10, item="b", first=10)
    playhead.reported(Played("a", 0, 200), 0.5)
    assert playhead.heard((("a", 0), ("b", 0)), 0.6) == (("a", 0, 300), ("b", 0, 0))
    assert playhead.heard((("a", 0), ("b", 0)), 1.4) == (("a", 0, 1000), ("b", 0, 100))
    playhead.reported(Played("b", 0, 400), 1.4)  # it has caught up
    assert playhead.heard((("b", 0),), 1.5) == (("b", 0, 500),)
    playhead.reported(Played("b", 0, 200), 1.45)  # an older report that came later
    playhead.reported(Played("a", 0, 100), 1.45)
    playhead.reported(Played("z", 0, 400), 1.5)  # of what nobody knows: nothing changes
    assert playhead.heard((("b", 0),), 1.5) == (("b", 0, 500),)


def test_a_door_that_knows_when_its_audio_is_heard_says_it() -> None:
    """The pacer's clock: the last sample of the entry is heard at 3.0."""
    playhead = Playhead()
    for n in range(2):
        playhead.read(entry(n), down.Audio("r", "a", 0, 100 * n, TENTH))
    playhead.wrote(entry(1), 2.7, 3.0)
    assert playhead.heard((("a", 0),), 2.85) == (("a", 0, 50),)


def test_packets_are_heard_without_what_comes_before_and_behind_them() -> None:
    """Priming and padding are decoded, and not heard."""
    playhead = Playhead()
    playhead.read(entry(1), down.Coded("r", "a", 0, 0, b"xy", down.Packets([1, 1], -312, 480)))
    tail = down.Tail([1], 648, 480, item="a", part=0, response="r", padding=240)
    playhead.read(entry(2), down.ServerEvent("response.output_audio.done", msgspec.Raw(b"{}"), b"z", [tail]))
    playhead.wrote(entry(2), 0.0)
    assert playhead.heard((("a", 0),), 0.02) == (("a", 0, 20),)
    assert playhead.heard((("a", 0),), 1.0) == (("a", 0, 37),)


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_other_rates_are_as_long(rate: int) -> None:
    playhead = Playhead(rate)
    playhead.read(entry(1), down.Audio("r", "a", 0, 0, bytes(rate // 10 * 2)))
    playhead.wrote(entry(1), 0.0)
    assert playhead.heard((("a", 0),), 1.0) == (("a", 0, 100),)


def test_a_listener_who_was_silenced_stays_where_it_was() -> None:
    """And the next answer begins at once."""
    playhead = Playhead()
    spoken(playhead, 50)
    playhead.stop({"a"}, 1.0)
    assert playhead.heard((("a", 0),), 9.0) == (("a", 0, 1000),)
    spoken(playhead, 10, now=2.0, item="b", first=50)
    assert playhead.heard((("b", 0),), 2.5) == (("b", 0, 500),)


def test_a_paced_listener_is_never_far_ahead_and_never_runs_dry() -> None:
    """Pieces of random length, sent as soon as they are due: between 0 and AHEAD_S are under way at any moment."""
    random, pace, playhead = Random(1), Pace(), Playhead()
    now = position = 0.0
    for n in range(1000):
        samples = random.randint(24, 2400)
        now = max(now, pace.due(samples / 24_000))
        playhead.read(entry(n), down.Audio("r", "a", 0, round(position), bytes(2 * samples)))
        playhead.wrote(entry(n), now)
        pace.sent(samples / 24_000, now)
        position += samples / 24
        assert 0 < playhead.busy_until - now <= AHEAD_S + 1e-9


def test_a_paced_listener_who_ran_dry_is_not_flooded() -> None:
    """Nothing came for two seconds: the schedule begins anew, nothing is caught up."""
    pace = Pace()
    pace.sent(0.1, 0.0)
    assert pace.due(0.1) <= 2.0
    pace.sent(0.2, 2.0)
    assert pace.due(0.1) == pytest.approx(2.0 + 0.2 + 0.1 - AHEAD_S)
