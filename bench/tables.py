"""PURE. What a run has found, as tables: shown in a terminal, in a page, and in the documentation from one place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.idle_record import Idle
from bench.media_record import SessionCost
from bench.record import BETWEEN, Measurement, Record
from bench.summary import ArmSummary, Summary
from cli.load.figures import Spread

PROCESSES = ("gateway", "bridge", "redis", "relay", "simulator")


@dataclass(frozen=True, slots=True)
class Table:
    """Text and figures; the first column is text."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def tables(summary: Summary, record: Record) -> Iterator[Table]:
    """Those of which something was measured."""
    made = (
        _sessions(summary.arms),
        _openings(summary),
        _memory(summary.arms, record),
        _idle(record.idle_connections),
        _opus(record.opus),
        _recordings(summary.recordings),
    )
    return (table for table in made if table.rows)


def markdown(found: Iterator[Table]) -> str:
    """For the documentation."""
    parts = []
    for table in found:
        lines = [f"{table.title}:", "", _line(table.head), _line(["---"] * len(table.head)), *map(_line, table.rows)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def named(what: Measurement | ArmSummary) -> str:
    """`50 sessions`, or `100 sessions, 20 talk`."""
    return f"{what.sessions} sessions" + (f", {what.talking} talk" if what.talking < what.sessions else "")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _sessions(arms: Sequence[ArmSummary]) -> Table:
    title = "CPU of a second of an open session, ms; the round trip of the same rounds, ms; how busy the machine was, %"
    head = ("", "", "gateway", "bridge", "Redis", "all between", "÷ relay", "p50", "p99", "added p50", "added p99", "busy")
    rows = []
    for arm in arms:
        ours = arm.arm == "parley"
        rows.append(
            (
                named(arm),
                arm.arm,
                *(_figure(arm.cpu[name]) if ours else "" for name in ("gateway", "bridge", "redis")),
                _figure(arm.between) if BETWEEN[arm.arm] else "",
                _figure(arm.between_to_relay) if ours else "",
                _figure(arm.p50_ms),
                _figure(arm.p99_ms),
                *(("", "") if arm.arm == "direct" else (_figure(arm.added_p50_ms), _figure(arm.added_p99_ms))),
                _figure(arm.busy),
            )
        )
    return Table(title, head, rows)


def _openings(summary: Summary) -> Table:
    at_once = summary.openings[0].sessions if summary.openings else 0
    title = f"From the dial to the first echoed frame when {at_once} open at once, ms"
    rows = [
        (one.arm, _figure(one.p50_ms), _figure(one.p95_ms), _figure(one.max_ms)) for one in summary.openings if one.opened
    ]
    return Table(title, ("", "p50", "p95", "the last"), rows)


def _memory(arms: Sequence[ArmSummary], record: Record) -> Table:
    counts = list(dict.fromkeys(map(named, arms)))
    rows = []
    for name in PROCESSES:
        arm_of = "relay" if name == "relay" else "parley"
        at = {named(arm): arm for arm in arms if arm.arm == arm_of}
        if name in record.idle and at:
            told = [
                f"{at[count].memory_rss_mb[name].high:.0f} ({at[count].memory_pss_mb[name].high:.0f})" for count in counts
            ]
            rows.append((name, f"{record.idle[name].rss:.0f} ({record.idle[name].pss:.0f})", *told))
    return Table(
        "Memory of a process, resident at most, MB (in brackets its share of what is shared)", ("", "fresh", *counts), rows
    )


def _idle(found: Sequence[Idle]) -> Table:
    count = min((one.open for one in found), default=0)
    title = (
        f"{count:,} event streams on which nothing comes but keepalives, each with a token of its own, and no model behind:"
        " what one costs. The bare server has no tokens, no sessions and no Redis"
    )
    head = ("", "KB", "KB in Redis", "CPU, µs a second", "of Redis", "open after, s", "KB when all have left", "busy, %")
    rows = [
        (
            "parley" if one.arm == "parley" else "bare aiohttp",
            f"{one.kilobytes:.1f}",
            f"{one.store_kilobytes:.1f}" if one.arm == "parley" else "",
            f"{one.cpu_us(one.server):.1f}",
            f"{one.cpu_us('redis'):.1f}" if one.arm == "parley" else "",
            f"{one.opened_s:.1f}",
            f"{one.kilobytes_left:.1f}",
            f"{one.busy:.0f}",
        )
        for one in found
    ]
    return Table(title, head, rows)


def _opus(found: Sequence[SessionCost]) -> Table:
    title = (
        "Opus through a transcoder, CPU of a second of a session that talks (and is talked to) all the time, ms,"
        " with what a chunk waits for its sound and an answer for its packets, ms"
    )
    head = ("", "sessions", "worker", "children", "in p50", "in p99", "out p50", "out p99", "busy, %")
    rows = [
        (
            "in and out" if one.both else "in",
            str(one.sessions),
            f"{one.worker_ms:.1f}",
            f"{one.children_ms:.1f}",
            *(("", "") if one.in_ms is None else (f"{one.in_ms[0]:.1f}", f"{one.in_ms[1]:.1f}")),
            *(("", "") if one.out_ms is None else (f"{one.out_ms[0]:.1f}", f"{one.out_ms[1]:.1f}")),
            f"{one.busy:.0f}",
        )
        for one in found
    ]
    return Table(title, head, rows)


def _recordings(arms: Sequence[ArmSummary]) -> Table:
    title = (
        f"The same {arms[0].sessions if arms else 0} sessions recorded and not, CPU of a second of one, ms."
        " Afterwards: the transcoder, when they are over, makes one file of each"
    )
    head = ("", "gateway", "bridge", "Redis", "transcoder", "afterwards", "all between", "p50", "p99", "busy, %")
    rows = [
        (
            arm.arm,
            _figure(arm.cpu["recording gateway" if arm.arm == "recorded" else "gateway"]),
            *(_figure(arm.cpu[name]) for name in ("bridge", "redis", "transcoder")),
            _figure(arm.afterwards),
            _figure(arm.between),
            _figure(arm.p50_ms),
            _figure(arm.p99_ms),
            _figure(arm.busy),
        )
        for arm in arms
    ]
    return Table(title, head, rows)


def _figure(figure: Spread | None) -> str:
    """The median."""
    if figure is None:
        return ""
    return f"{figure.median:.{1 if abs(figure.median) < 100 else 0}f}"
