"""What is shown and kept of a run: tables for people, JSON for machines."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.idle_record import Idle
from bench.media_record import SessionCost
from bench.messages import RoundTrip
from bench.page import page
from bench.record import BETWEEN, Arm, Measurement, Opening, Record
from bench.summary import TOO_BUSY_PERCENT, ArmSummary, Summary
from bench.tables import named, tables
from cli.load.figures import Spread

KEPT = Path("bench/results")
PASSING = Path("artifacts/bench")

_PROCESSES = ("gateway", "bridge", "redis", "relay", "simulator", "client")


class RunReport(msgspec.Struct, frozen=True):
    """The file."""

    when: str
    machine: dict[str, str]
    plan: dict[str, object]
    summary: Summary
    record: Record


def line(done: Measurement | Opening) -> str:
    """One measurement, as it comes."""
    clients = done.clients
    where = f"round {done.round} · " + (named(done) if isinstance(done, Measurement) else f"{done.sessions} sessions")
    if isinstance(done, Opening):
        slowest = f"{max(clients.opened_ms):.0f} ms" if clients.opened_ms else "none"
        return f"{where} at once · {done.arm:<6}  the last has its first echo after {slowest}" + _trouble(clients.troubles)
    return (
        f"{where} · {done.arm:<6}  round trip {_trip(clients.round_trip)}, machine {done.busy:.0f} % busy"
        + (f", {clients.lost} lost" if clients.lost else "")
        + _trouble(clients.troubles)
    )


def idle_line(one: Idle) -> str:
    """The same of idle connections."""
    refused = f", {len(one.refusals)} refused, the first: {one.refusals[0]}" if one.refusals else ""
    return (
        f"{one.open:,} idle connections · {one.arm:<6}  {one.kilobytes:.1f} KB each, machine {one.busy:.0f} % busy{refused}"
    )


def opus_line(one: SessionCost) -> str:
    """The same of Opus."""
    where = f"{one.sessions} sessions, Opus {'in and out' if one.both else 'in'}"
    return f"{where}  worker {one.worker_ms:.1f} ms, children {one.children_ms:.1f} ms, machine {one.busy:.0f} % busy"


def show(console: Console, summary: Summary, record: Record, machine: dict[str, str], *, rounds: int) -> None:
    """All tables."""
    _machine(console, machine)
    console.print(f"\nMedian of {rounds} rounds (lowest – highest).", style="dim")
    for count in dict.fromkeys(map(named, summary.arms)):
        console.print(_arms([arm for arm in summary.arms if named(arm) == count]))
    for table in tables(summary, record):
        drawn = Table(title=table.title, title_justify="left", title_style="bold")
        for place, column in enumerate(table.head):
            drawn.add_column(column, justify="right" if place else "left")
        for cells in table.rows:
            drawn.add_row(*cells)
        console.print(drawn)
    for sentence in _remarks(summary):
        console.print(Text(sentence, style="yellow"), soft_wrap=True)


def write(folder: Path, summary: Summary, record: Record, machine: dict[str, str], plan: dict[str, object]) -> Path:
    """The file with everything; its name says when, and of what."""
    now = datetime.datetime.now(datetime.UTC)
    path = folder / f"{now:%Y-%m-%d}-{machine['parley'].replace('+', '-changed')}.json"
    folder.mkdir(parents=True, exist_ok=True)
    report = RunReport(now.isoformat(timespec="seconds"), machine, plan, summary, record)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    path.with_suffix(".html").write_text(page(summary, record, machine, plan))
    return path


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _machine(console: Console, machine: dict[str, str]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in machine.items():
        table.add_row(Text(name, style="dim"), value)
    console.print(table)


def _arms(arms: list[ArmSummary]) -> Table:
    """All arms with the same number of sessions."""
    table = Table(title=named(arms[0]), title_justify="left", title_style="bold")
    table.add_column("")
    for arm in arms:
        table.add_column(arm.arm, justify="right")

    def row(name: str, cell: Callable[[ArmSummary], str], **style: Any) -> None:
        table.add_row(name, *map(cell, arms), **style)

    row("round trip p50, ms", lambda arm: _ms(arm.p50_ms))
    row("round trip p99, ms", lambda arm: _ms(arm.p99_ms))
    row("  added p50, ms", lambda arm: "" if arm.arm == "direct" else _ms(arm.added_p50_ms))
    row("  added p99, ms", lambda arm: "" if arm.arm == "direct" else _ms(arm.added_p99_ms))
    row("frames sent", lambda arm: f"{arm.sent:,}")
    row("  lost", lambda arm: str(arm.lost))
    row("  doubled", lambda arm: str(arm.doubled), end_section=True)
    row("CPU, ms per session·s", lambda arm: "", style="dim")
    for name in _PROCESSES:
        row(f"  {name}", lambda arm, name=name: _ms(arm.cpu[name]) if _takes_part(name, arm.arm) else "")  # type: ignore[misc]
    row("  all between", lambda arm: _ms(arm.between) if BETWEEN[arm.arm] else "", style="bold")
    row("  ÷ relay", lambda arm: _ms(arm.between_to_relay) if arm.arm == "parley" else "")
    row("  … without redis", lambda arm: _ms(arm.services_to_relay) if arm.arm == "parley" else "", end_section=True)
    row("machine busy, %", lambda arm: _ms(arm.busy))
    row("  of it others, %", lambda arm: _ms(arm.others))
    row("client late p99", lambda arm: _ms(arm.late_p99_ms))
    return table


def _takes_part(process: str, arm: Arm) -> bool:
    return process in (*BETWEEN[arm], "simulator", "client")


def _remarks(summary: Summary) -> Iterator[str]:
    """What whoever reads the figures must know."""
    for arm in summary.arms:
        where = f"{named(arm)}, {arm.arm}"
        if arm.too_busy:
            yield f"{where}: {arm.too_busy} rounds with the machine above {TOO_BUSY_PERCENT} % busy. They say little."
        if arm.foreign or arm.broken:
            yield f"{where}: {arm.foreign} frames of other sessions, {arm.broken} places that were no frame."
        for name, spent in arm.cpu_children.items():
            yield f"{where}: the children of the {name} took {_ms(spent)} ms per session and second more."
    troubles = [trouble for arm in summary.arms for trouble in arm.troubles]
    troubles += [trouble for opening in summary.openings for trouble in opening.troubles]
    for told in dict.fromkeys(troubles):
        yield f"A client was told: {told}"


def _ms(figure: Spread | None) -> str:
    if figure is None:
        return "–"
    digits = 2 if abs(figure.median) < 10 else 1 if abs(figure.median) < 100 else 0
    return f"{figure.median:.{digits}f} ({figure.low:.{digits}f}–{figure.high:.{digits}f})"


def _trip(trip: RoundTrip | None) -> str:
    return f"p50 {trip.p50:.2f} / p99 {trip.p99:.2f} ms" if trip else "none"


def _trouble(troubles: tuple[str, ...]) -> str:
    return f"; {len(troubles)} troubles, the first: {troubles[0]}" if troubles else ""
