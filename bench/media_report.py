"""What is shown and kept of a run of `bench.media`."""

from __future__ import annotations

import datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.media import CHILD, HERE, LIVE
from bench.media_record import Coding, MediaRecord
from cli.load.figures import Spread


class MediaReport(msgspec.Struct, frozen=True):
    """The file."""

    when: str
    machine: dict[str, str]
    plan: dict[str, object]
    record: MediaRecord


def show(console: Console, record: MediaRecord, machine: dict[str, str], *, rounds: int) -> None:
    """All tables."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in machine.items():
        table.add_row(Text(name, style="dim"), value)
    console.print(table)
    console.print(f"\nMedian of {rounds} rounds (lowest – highest).", style="dim")
    console.print(_codings(record.codings))
    console.print(_latencies(record))
    console.print(_footprints(record))
    console.print(_sessions(record))
    for sentence in sessions_a_core(record):
        console.print(sentence, soft_wrap=True)


def write(folder: Path, record: MediaRecord, machine: dict[str, str], plan: dict[str, object]) -> Path:
    """The file with everything; its name says when, and of what."""
    now = datetime.datetime.now(datetime.UTC)
    path = folder / f"{now:%Y-%m-%d}-{machine['parley'].replace('+', '-changed')}-media.json"
    folder.mkdir(parents=True, exist_ok=True)
    report = MediaReport(now.isoformat(timespec="seconds"), machine, plan, record)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    return path


def _codings(codings: list[Coding]) -> Table:
    table = Table(title="Codecs", title_justify="left", title_style="bold")
    for column in ("", "what", "by"):
        table.add_column(column, no_wrap=True)
    for column in ("× real time", "ms", "÷ ours"):
        table.add_column(column, justify="right")
    ours: dict[tuple[str, str], float] = {}
    for each in codings:
        if each.each_ms is not None and each.by in (HERE, CHILD):
            ours[each.way, each.name] = each.each_ms.median  # the dearest of ours: it comes last
        times = None if each.each_ms is None else each.each_ms.median / ours[each.way, each.name]
        compared = "" if times is None or each.by in (HERE, CHILD) else f"{times:.1f}"
        missing = "not installed" if each.real_time is None else _figure(each.real_time, 0)
        table.add_row(each.way, each.name, each.by, missing, _figure(each.each_ms, 2), compared)
    return table


def _latencies(record: MediaRecord) -> Table:
    title = "From a chunk in to its PCM out, through a decoder child"
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in ("what", "streams", "chunk, ms", "p50, ms", "p99, ms", "worst p99, ms", "CPU, ms per stream·s"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for each in record.latencies:
        worst = each.p99_ms if each.worst_p99_ms is None else each.worst_p99_ms
        times = (each.p50_ms, each.p99_ms, worst, each.cpu_ms)
        figures = (f"{each.chunk_ms:.0f}", *(f"{time:.2f}" for time in times))
        table.add_row(each.name, str(each.streams), *figures)
    return table


def _footprints(record: MediaRecord) -> Table:
    table = Table(title="Memory a session", title_justify="left", title_style="bold")
    for column in ("", "what", "KB"):
        table.add_column(column, justify="right" if column == "KB" else "left")
    for each in record.footprints:
        table.add_row(each.way, each.name, f"{each.kilobytes:.0f}")
    return table


def _sessions(record: MediaRecord) -> Table:
    title = "A transcoder on Redis: CPU of a second of a session, in which it talks, and is talked to, all the time"
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in ("Opus", "sessions", "worker, ms", "children, ms", "sessions a core"):
        table.add_column(column, justify="left" if column == "Opus" else "right")
    for each in record.sessions:
        figures = (f"{each.worker_ms:.2f}", f"{each.children_ms:.2f}", f"{each.a_core:.0f}")
        table.add_row("both ways" if each.both else "in", str(each.sessions), *figures)
    return table


def sessions_a_core(record: MediaRecord) -> list[str]:
    """What the codecs leave room for, without Redis and everything else: a bound, not a promise."""
    name = LIVE[0]
    most = max((each for each in record.latencies if each.name == name), key=lambda each: each.streams, default=None)
    out = next((each for each in record.codings if (each.way, each.name, each.by) == ("out", "opus", HERE)), None)
    if most is None or out is None or out.real_time is None:
        return []
    out_ms = 1000 / out.real_time.median
    into = f"{name} in, {most.streams} at a time: {1000 / max(most.cpu_ms, 0.01):.0f} streams a core"
    both = f"and Opus out as well, if both sides speak all the time: {1000 / (most.cpu_ms + out_ms):.0f}"
    return [f"Of the codecs alone (worker and child, without Redis): {into}; {both}."]


def _figure(figure: Spread | None, digits: int) -> str:
    if figure is None:
        return ""
    digits = digits if figure.median < 100 else 0
    return f"{figure.median:.{digits}f} ({figure.low:.{digits}f}–{figure.high:.{digits}f})"
