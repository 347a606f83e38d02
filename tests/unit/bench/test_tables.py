"""What a run has found, as tables for people, pages and documents."""

from __future__ import annotations

from html.parser import HTMLParser

from bench.idle_record import Idle
from bench.media_record import SessionCost
from bench.messages import Result, RoundTrip
from bench.page import page
from bench.record import ARMS, BETWEEN, RECORDING_ARMS, Arm, Cost, Measurement, Memory, Opening, Record
from bench.summary import summarise
from bench.tables import Table, markdown, tables

NAMES = ("gateway", "recording gateway", "bridge", "redis", "relay", "simulator", "transcoder", "client", "bench")
MEMORY = dict.fromkeys(NAMES, Memory(60.0, 40.0))


def measurement(arm: Arm, sessions: int, talking: int, each: float) -> Measurement:
    """Every process that stands between costs `each`."""
    clients = Result(sent=100, received=100, round_trip=RoundTrip(100, each, each, each * 10, each * 20))
    cost = {name: Cost(each if name in BETWEEN[arm] else 0.0, 0.0) for name in NAMES}
    return Measurement(1, sessions, talking, arm, clients, 8.0, cost, 20.0, 1.0, MEMORY)


def idle(arm: str, megabytes: float) -> Idle:
    server = "relay" if arm == "bare" else "gateway"
    return Idle(
        arm=arm,  # type: ignore[arg-type]
        connections=1_024,
        open=1_024,
        refusals=(),
        opened_s=2.0,
        seconds=24.0,
        keepalives=2_048,
        cpu_ms_a_second={server: 10.24, "redis": 5.12, "client": 1.0},
        busy=30.0,
        others=1.0,
        memory_before={server: Memory(60.0, 40.0)},
        memory={server: Memory(60.0 + megabytes, 40.0 + megabytes)},
        memory_after={server: Memory(61.0, 41.0)},
        store_mb=19.0,
        files=1_024,
        files_left=0,
        left_s=0.1,
    )


def whole() -> Record:
    """A round of everything."""
    record = Record(idle=MEMORY)
    for sessions, talking in ((50, 50), (100, 20)):
        record.measurements += [measurement(arm, sessions, talking, 2.0) for arm in ARMS]
    record.openings += [Opening(1, 100, arm, Result(opened_ms=(10.0, 20.0))) for arm in ARMS]
    record.recordings += [measurement(arm, 10, 10, each) for arm, each in zip(RECORDING_ARMS, (2.0, 3.0), strict=True)]
    record.idle_connections += [idle("bare", 14.0), idle("parley", 34.0)]
    record.opus.append(SessionCost(True, 20, 6.0, 10.0, 3.0, 40.0, (1.0, 5.0), (2.0, 6.0)))
    return record


def of(found: list[Table], begins: str) -> Table:
    return next(table for table in found if table.title.startswith(begins))


def test_a_table_for_each_thing_that_was_measured() -> None:
    record = whole()
    found = list(tables(summarise(record), record))
    assert [len(table.rows) for table in found] == [6, 3, 5, 2, 1, 2]
    assert all(len(row) == len(table.head) for table in found for row in table.rows)


def test_nothing_is_told_of_what_was_left_out() -> None:
    record = whole()
    record.idle_connections.clear()
    record.opus.clear()
    record.recordings.clear()
    assert len(list(tables(summarise(record), record))) == 3


def test_sessions_that_are_open_and_those_that_talk_are_told_apart() -> None:
    record = whole()
    rows = of(list(tables(summarise(record), record)), "CPU of a second").rows
    assert [row[:3] for row in rows if row[1] == "parley"] == [
        ("50 sessions", "parley", "2.0"),
        ("100 sessions, 20 talk", "parley", "2.0"),
    ]


def test_what_an_idle_connection_takes() -> None:
    """Of the server alone, and of Redis what it has given out."""
    bare, ours = idle("bare", 14.0), idle("parley", 34.0)
    assert (bare.kilobytes, ours.kilobytes, ours.store_kilobytes) == (14.0, 34.0, 19.0)
    assert ours.kilobytes_left == 1.0
    assert (round(ours.cpu_us("gateway"), 3), round(ours.cpu_us("redis"), 3)) == (10.0, 5.0)


def test_recorded_sessions_are_told_beside_the_same_that_are_not() -> None:
    record = whole()
    summary = summarise(record)
    plain, recorded = summary.recordings
    assert plain.between_to_relay is not None
    assert recorded.between_to_relay is not None
    assert (plain.between_to_relay.median, recorded.between_to_relay.median) == (1.0, 1.5)
    assert of(list(tables(summary, record)), "The same 10 sessions").rows[1][1] == "3.0"


def test_markdown_has_a_line_a_row() -> None:
    text = markdown(iter([Table("Of this", ("", "a"), [("x", "1"), ("y", "2")])]))
    assert text == "Of this:\n\n|  | a |\n| --- | --- |\n| x | 1 |\n| y | 2 |\n"


def test_the_page_is_whole_and_fetches_nothing() -> None:
    """Plots of everything, and no other file."""
    record = whole()
    text = page(summarise(record), record, {"processor": "one"}, {"rounds": 1})

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.seen.append(tag)
            assert not {name for name, _ in attrs} & {"src", "href"}

    reader = Reader()
    reader.feed(text)
    assert reader.seen.count("figure") == 2 * 2 + 3
    assert reader.seen.count("table") == 6
    assert "Nothing was measured" not in text
