"""PURE. A run as one HTML file that needs nothing else: its tables, and plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.record import ARMS, Record
from bench.summary import Summary
from bench.tables import named, tables
from cli.load.page import document, drawn_table, plot, sentence

SERVICES = ("gateway", "bridge", "redis", "relay")


def page(summary: Summary, record: Record, machine: Mapping[str, str], plan: Mapping[str, object]) -> str:
    """The file's text."""
    told = sentence({name: str(value) for name, value in plan.items()})
    return document(
        "What Parley costs",
        told,
        f'<div class="plots">{"".join(_plots(record))}</div>',
        *(f"<h2>{table.title}</h2>{drawn_table(table.head, table.rows)}" for table in tables(summary, record)),
        f"<h2>Machine</h2><p>{sentence(machine)}</p>",
    )


def _plots(record: Record) -> Iterator[str]:
    measured = record.measurements
    for count in dict.fromkeys(map(named, measured)):
        here = [each for each in measured if named(each) == count]
        yield plot(
            f"{count}: round trip p99 of each round, ms",
            {
                arm: [
                    (each.round, each.clients.round_trip.p99) for each in here if each.arm == arm and each.clients.round_trip
                ]
                for arm in ARMS
            },
            "round",
        )
        yield plot(
            f"{count}: CPU of a session and second, ms",
            {
                name: [
                    (each.round, each.cpu[name].own + each.cpu[name].children)
                    for each in here
                    if each.arm == ("relay" if name == "relay" else "parley") and name in each.cpu
                ]
                for name in SERVICES
            },
            "round",
        )
    yield plot(
        "Sessions that talk, and p99, ms",
        {
            arm: [
                (each.talking, each.clients.round_trip.p99)
                for each in measured
                if each.arm == arm and each.clients.round_trip
            ]
            for arm in ARMS
        },
        "sessions",
        dots=True,
    )
    yield plot(
        "Sessions that are open, and memory, MB",
        {
            name: [
                (each.sessions, each.memory[name].pss)
                for each in measured
                if each.arm == ("relay" if name == "relay" else "parley") and name in each.memory
            ]
            for name in SERVICES
        },
        "sessions",
        dots=True,
    )
    opened = {
        arm: sorted(ms for each in record.openings if each.arm == arm for ms in each.clients.opened_ms) for arm in ARMS
    }
    yield plot(
        "Opened at once: how long until so many of them have heard their first echo, ms",
        {arm: [((place + 1) * 100 / len(found), ms) for place, ms in enumerate(found)] for arm, found in opened.items()},
        "%",
    )
