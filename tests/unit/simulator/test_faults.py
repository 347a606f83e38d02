"""What goes wrong on demand, as it is written."""

from __future__ import annotations

from collections import Counter

import pytest

from simulator.faults import BadFault, Fault, Plan, read_script, refusal
from simulator.wire import Object


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("close=1011@7", Fault("close", 7, 1011)),
        ("reset@3#2", Fault("reset", 3, connection=2)),
        ("silent@3#*", Fault("silent", 3, connection=None)),
        ("close=1011@2.5s", Fault("close", 0, 1011, seconds=2.5)),
        ("error=rate_limit_exceeded@2", Fault("error", 2, error="rate_limit_exceeded")),
        ("zombie=3@response.cancelled:1", Fault("zombie", 1, 3, event="response.cancelled")),
        ("http=429#2", Fault("http", 0, 429, connection=2)),
        ("error@response.done:2", Fault("error", 2, event="response.done")),
    ],
)
def test_a_fault_is_read(text: str, fault: Fault) -> None:
    assert Fault.parse(text) == fault


@pytest.mark.parametrize(
    "text",
    [
        "",
        "close@7",
        "close=12@7",
        "reset",
        "reset@x",
        "burn@3",
        "reset@3#0x",
        "http=200",
        "http=429@3",
        "zombie@3",
        "reset@s",
    ],
)
def test_what_is_no_fault_is_told(text: str) -> None:
    with pytest.raises(BadFault, match="such as close=1011@7"):
        Fault.parse(text)


def test_it_strikes_once_on_its_connection() -> None:
    """By the count of all events, or of one kind."""
    sent = Counter({"session.created": 1, "response.done": 2})
    assert Fault("reset", 3).strikes(1, sent, "response.done")
    assert not Fault("reset", 3).strikes(2, sent, "response.done")
    assert Fault("reset", 3, connection=None).strikes(2, sent, "response.done")
    assert Fault("reset", 2, event="response.done").strikes(1, sent, "response.done")
    assert not Fault("reset", 2, event="response.done").strikes(1, sent, "session.created")


def test_seconds_count_from_the_start_of_the_plan() -> None:
    """Each strikes once, in the order of time, on its own connection."""
    faults = [Fault.parse(each) for each in ("reset@2.5s", "error@1s", "garbage@1s#2")]
    plan = Plan(faults, connection=1, now=100.0)
    assert plan.timer() == 101.0
    assert plan.due(100.9) == []
    assert plan.due(101.0) == [faults[1]]
    assert plan.timer() == 102.5
    assert plan.due(200.0) == [faults[0]]
    assert (plan.timer(), plan.due(300.0)) == (None, [])


def test_events_count_from_the_start_of_the_plan() -> None:
    """A cancelled response counts by a name of its own, and is one event."""
    faults = [
        Fault.parse(each) for each in ("error@2", "zombie=1@response.cancelled:1", "garbage@3", "reset@response.done:3")
    ]
    plan = Plan(faults, connection=1, now=0.0)
    cancelled: Object = {"type": "response.done", "response": {"status": "cancelled"}}
    completed: Object = {"type": "response.done", "response": {"status": "completed"}}
    struck = [plan.behind(event) for event in (completed, cancelled, completed)]
    assert struck == [[], [faults[0], faults[1]], [faults[2], faults[3]]]


def test_a_handshake_is_refused_by_its_number() -> None:
    faults = [Fault.parse("http=429#2"), Fault.parse("close=1011@1")]
    assert [refusal(faults, number) for number in (1, 2, 3)] == [None, 429, None]


def test_connections_are_counted_from_later_on() -> None:
    assert Fault.parse("reset@1#2").later(5).connection == 7
    assert Fault.parse("reset@1#*").later(5).connection is None


@pytest.mark.parametrize(
    "script",
    [
        '["reset@3", {"connection": 2, "faults": ["http=503"]}, {"connection": "*", "faults": ["error@1s"]}]',
        '"reset@3"\n\n{"connection": 2, "faults": ["http=503"]}\n{"connection": "*", "faults": ["error@1s"]}\n',
    ],
)
def test_a_script_is_a_list_or_lines(script: str) -> None:
    assert read_script(script) == (Fault.parse("reset@3"), Fault.parse("http=503#2"), Fault.parse("error@1s#*"))


@pytest.mark.parametrize(
    "script",
    [
        "reset@3",
        "[1]",
        '{"connection": 2}',
        '{"connection": true, "faults": []}',
        '{"connection": 1, "faults": ["reset@3#2"]}',
    ],
)
def test_what_is_no_script_is_told(script: str) -> None:
    with pytest.raises(BadFault, match=r"script|connection"):
        read_script(script)
