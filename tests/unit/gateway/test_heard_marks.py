"""What a recording is told of a listener."""

from __future__ import annotations

from gateway.heard_marks import runs
from gateway.playhead import Playhead
from streams import down
from streams.heard import Sound
from streams.ids import EntryId
from streams.stopping import Played


def sent(
    playhead: Playhead, now: float, count: int, *, item: str = "i", first: int = 0, ends_at: float | None = None
) -> None:
    for n in range(first, first + count):
        playhead.read(EntryId(1, n + 1), down.Audio("r", item, 0, n * 100, bytes(4800)))
    playhead.wrote(EntryId(1, first + count), now, ends_at)


def told(playhead: Playhead, since: float, now: float) -> list[Sound]:
    return list(runs(playhead, since, now))


def test_what_follows_without_a_break_is_one() -> None:
    playhead = Playhead()
    sent(playhead, 10.0, 3)
    sent(playhead, 10.1, 2, first=3)
    assert told(playhead, 10.0, 10.2) == [Sound("i", 0, 0.0, 500.0, -200.0)]
    assert told(playhead, 10.3, 10.3) == [Sound("i", 0, 300.0, 200.0, 0.0)]


def test_another_item_and_a_gap_are_others() -> None:
    playhead = Playhead()
    sent(playhead, 10.0, 1)
    sent(playhead, 10.5, 1, first=1)
    sent(playhead, 10.6, 1, first=2, item="j")
    assert [(s.item, s.from_ms, s.begins_ms) for s in told(playhead, 0.0, 10.0)] == [
        ("i", 0.0, 0.0), ("i", 100.0, 500.0), ("j", 200.0, 600.0),
    ]  # fmt: skip


def test_every_change_is_told_from_its_moment_on() -> None:
    playhead = Playhead()
    changes: list[tuple[float, Played | None]] = []
    playhead.on_change = lambda since, report, now: changes.append((round(since, 3), report))
    sent(playhead, 10.0, 5)
    report = Played("i", 0, 150)
    playhead.reported(report, 10.2)
    playhead.stop({"i"}, 10.3)
    assert changes == [(10.0, None), (10.1, report), (10.25, None)]
    assert told(playhead, 10.25, 10.3) == [Sound("i", 0, 200.0, 50.0, -50.0)]


def test_a_client_that_truncates_by_itself_has_dropped_the_rest() -> None:
    playhead = Playhead()
    sent(playhead, 10.0, 5)
    sent(playhead, 10.0, 2, first=5, item="j")
    playhead.cut("i", 0, 230, 10.25)
    assert told(playhead, 0.0, 10.0) == [Sound("i", 0, 0.0, 230.0, 0.0)]
    assert playhead.busy_until <= 10.25
    sent(playhead, 11.0, 1, first=7, item="k")
    assert told(playhead, 11.0, 11.0) == [Sound("k", 0, 700.0, 100.0, 0.0)]
