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

from bench.messages import RoundTrip
from bench.record import BETWEEN, Arm, Measurement, Opening, Record
from bench.summary import TOO_BUSY_PERCENT, ArmSummary, Summary
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
    where = f"round {done.round} · {done.sessions} sessions"
    if isinstance(done, Opening):
        slowest = f"{max(clients.opened_ms):.0f} ms" if clients.opened_ms else "none"
        return f"{where} at once · {done.arm:<6}  the last has its first echo after {slowest}" + _trouble(clients.troubles)
    return (
        f"{where} · {done.arm:<6}  round trip {_trip(clients.round_trip)}, machine {done.busy:.0f} % busy"
        + (f", {clients.lost} lost" if clients.lost else "")
        + _trouble(clients.troubles)
    )


def show(console: Console, summary: Summary, record: Record, machine: dict[str, str], *, rounds: int) -> None:
    """All tables."""
    _machine(console, machine)
    console.print(f"\nMedian of {rounds} rounds (lowest – highest).", style="dim")
    for sessions in sorted({arm.sessions for arm in summary.arms}):
        console.print(_arms([arm for arm in summary.arms if arm.sessions == sessions]))
    console.print(_openings(summary))
    console.print(_memory(summary.arms, record))
    for sentence in _remarks(summary):
        console.print(Text(sentence, style="yellow"), soft_wrap=True)


def write(folder: Path, summary: Summary, record: Record, machine: dict[str, str], plan: dict[str, object]) -> Path:
    """The file with everything; its name says when, and of what."""
    now = datetime.datetime.now(datetime.UTC)
    path = folder / f"{now:%Y-%m-%d}-{machine['parley'].replace('+', '-changed')}.json"
    folder.mkdir(parents=True, exist_ok=True)
    report = RunReport(now.isoformat(timespec="seconds"), machine, plan, summary, record)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    return path


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _machine(console: Console, machine: dict[str, str]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in machine.items():
        table.add_row(Text(name, style="dim"), value)
    console.print(table)


def _arms(arms: list[ArmSummary]) -> Table:
    """All arms with the same number of sessions."""
    table = Table(title=f"{arms[0].sessions} sessions", title_justify="left", title_style="bold")
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


def _openings(summary: Summary) -> Table:
    title = f"{summary.openings[0].sessions} sessions opened at once, until the first echo of each, ms"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("")
    for column in ("p50", "p95", "last"):
        table.add_column(column, justify="right")
    for each in summary.openings:
        table.add_row(each.arm, _ms(each.p50_ms), _ms(each.p95_ms), _ms(each.max_ms))
    return table


def _memory(arms: list[ArmSummary], record: Record) -> Table:
    table = Table(title="Memory, MB: all (and its share of what is shared)", title_justify="left", title_style="bold")
    table.add_column("process")
    table.add_column("idle", justify="right")
    counts = sorted({arm.sessions for arm in arms})
    for sessions in counts:
        table.add_column(f"{sessions} sessions", justify="right")
    for name in _PROCESSES[:-1]:
        wanted = "relay" if name == "relay" else "parley"
        cells = [
            f"{arm.memory_rss_mb[name].median:.0f} ({arm.memory_pss_mb[name].median:.0f})"
            for sessions in counts
            for arm in arms
            if arm.sessions == sessions and arm.arm == wanted
        ]
        table.add_row(name, f"{record.idle[name].rss:.0f} ({record.idle[name].pss:.0f})", *cells)
    return table


def _remarks(summary: Summary) -> Iterator[str]:
    """What whoever reads the figures must know."""
    for arm in summary.arms:
        where = f"{arm.sessions} sessions, {arm.arm}"
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
