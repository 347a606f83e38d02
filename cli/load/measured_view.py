"""What a measuring run shows in a terminal: while it goes on, and at its end."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from cli.load import measure
from cli.load.measure import Measured
from cli.load.measuring import Measuring

LATEST_S = 10.0
"""Latencies that are shown while it goes on."""

_BARS = "▁▂▃▄▅▆▇█"


def now(run: Measuring) -> Group:
    """The latest seconds, and how it has gone."""
    since, at = run.now - LATEST_S, run.now
    rows = Table(box=None, pad_edge=False)
    for column in ("client", "connected", "turns", "p50 ms", "p95 ms", "p99 ms", "interrupted", "troubles"):
        rows.add_column(column, justify="left" if column == "client" else "right", no_wrap=True)
    every: list[measure.Turn] = []
    for client in dict.fromkeys(run.load.clients):
        callers = [caller for name, caller in zip(run.load.clients, run.callers, strict=False) if name == client]
        turns = [turn for caller in callers for turn in measure.turns_of(caller.ledger, caller.spoken)]
        every += turns
        latest = measure.percentiles([turn.latency_ms for turn in turns if turn.at_s >= since])
        rows.add_row(
            client,
            f"{sum(caller.is_connected.is_set() for caller in callers)} of {run.load.clients.count(client)}",
            f"{len(turns):,}",
            *(f"{latest[name]:,.0f}" if latest else "–" for name in ("p50", "p95", "p99")),
            str(sum(len(caller.interrupted) for caller in callers)),
            str(sum(len(caller.ledger.troubles) for caller in callers)),
        )
    points = measure.points(every, run.samples)
    latest_samples = [sample for sample in run.samples if sample.at_s >= since]
    spent = "  ".join(f"{name} {value:.1f}" for name, value in measure.cost(latest_samples).items())
    held = "  ".join(f"{name} {value:.0f}" for name, value in measure.most(latest_samples).items())
    title = Text(f"{at:.0f} of {run.load.seconds:.0f} s, {run.connected} of {len(run.load.clients)} connected", style="bold")
    lines = (
        Text(f"p99       {bars([point.latency_ms.get('p99', 0.0) for point in points])}"),
        Text(f"sessions  {bars([point.connected for point in points])}"),
        Text(f"CPU ms of a session and second: {spent or '–'}", style="dim"),
        Text(f"memory MB: {held or '–'}", style="dim"),
    )
    return Group(title, rows, *lines)


def bars(values: list[float]) -> str:
    """One character each, the highest full."""
    most = max(values, default=0.0)
    return "".join(_BARS[min(len(_BARS) - 1, int(value / most * len(_BARS)))] if most else _BARS[0] for value in values)


def clients(result: Measured) -> Table:
    """A row a client class."""
    drawn = Table(box=None, pad_edge=False)
    columns = ("client", "sessions", "turns", "unanswered", "p50 ms", "p95 ms", "p99 ms", "interrupted", "stopped p95 ms")
    for column in columns:
        drawn.add_column(column, justify="left" if column == "client" else "right", no_wrap=True)
    for each in result.classes:
        drawn.add_row(
            each.client,
            str(each.sessions),
            f"{each.turns:,}",
            str(each.unanswered),
            *(f"{each.latency_ms[name]:,.0f}" if each.latency_ms else "–" for name in ("p50", "p95", "p99")),
            str(each.interruptions),
            f"{each.stopped_ms['p95']:,.0f}" if each.stopped_ms else "–",
        )
    return drawn


def services(result: Measured) -> Table:
    """A row a service."""
    drawn = Table(box=None, pad_edge=False)
    for column in ("service", "CPU ms of a session and second", "memory MB"):
        drawn.add_column(column, justify="left" if column == "service" else "right", no_wrap=True)
    for name, value in sorted(result.cpu_ms.items()):
        drawn.add_row(name, f"{value:.2f}", f"{result.memory_mb.get(name, 0.0):,.0f}")
    return drawn
