"""What a run has shown: a row a client class, and a sentence for each promise that was not kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
from rich.table import Table

from cli.load.judgement import NEVER_MS, Figures
from cli.load.run import Result, Session

_COLUMNS = (
    "client", "sessions", "turns", "frames", "up lost", "up doubled", "down lost", "longest gap", "again", "repeated",
    "asked anew", "foreign", "kept",
)  # fmt: skip


def table(sessions: Sequence[Session]) -> Table:
    """Frames of 20 ms, summed over the sessions of a class; times are the worst."""
    drawn = Table(box=None, pad_edge=False)
    for column in _COLUMNS:
        drawn.add_column(column, justify="left" if column == "client" else "right", no_wrap=True)
    for client in dict.fromkeys(session.client for session in sessions):
        drawn.add_row(*_row(client, [session for session in sessions if session.client == client]))
    return drawn


def _row(client: str, sessions: Sequence[Session]) -> Iterator[str]:
    def total(name: str) -> str:
        return f"{sum(getattr(session.figures, name) for session in sessions):,}"

    def worst_ms(name: str) -> str:
        worst = max(getattr(session.figures, name) for session in sessions)
        return "∞" if worst >= NEVER_MS else f"{worst:.0f} ms"

    yield client
    yield str(len(sessions))
    yield str(sum(session.turns for session in sessions))
    yield total("sent")
    yield total("up_lost")
    yield total("up_doubled")
    yield total("down_lost")
    yield worst_ms("down_gap_ms")
    yield total("down_doubled")
    yield worst_ms("down_repeat_ms")
    yield total("asked_again")
    yield total("foreign")
    yield "[red]no[/red]" if any(session.broken for session in sessions) else "[green]yes[/green]"


def sentences(result: Result) -> Iterator[str]:
    """What was not kept, and how to see it again."""
    yield from (f"All sessions (seed {result.plan.seed}): {complaint}." for complaint in result.broken)
    for session in result.sessions:
        for complaint in session.broken:
            yield f"{session.client} (session {session.number}, seed {result.plan.seed}): {complaint}."
        if session.broken:
            yield from (f"    {each}" for each in (*session.lost, *session.breaks, *session.troubles[:5]))


def takeovers(results: Sequence[Result]) -> Iterator[str]:
    """How long sessions were without a worker, by the kind of fault: of each kill the session that waited longest."""
    every = [(at, taken) for at, result in enumerate(results) for taken in result.takeovers]
    for cause in dict.fromkeys(taken.cause for _, taken in every):
        ours = [(run, taken) for run, taken in every if taken.cause == cause]
        owned = _worst((run, taken.at_s, taken.owned_s) for run, taken in ours)
        heard = _worst((run, taken.at_s, taken.heard_s) for run, taken in ours)
        orphans = sum(taken.is_orphan for _, taken in ours)
        due = [taken for _, taken in ours if taken.is_due and not taken.is_over]
        unheard = sum(taken.heard_s is None for taken in due)
        yield (
            f"{cause}: {len(owned)} kills, {len(ours)} sessions, {orphans} orphans; taken over after {_spread(owned)};"
            f" first audio, where some was due ({len(heard)} kills, {len(due)} sessions, {unheard} never heard),"
            f" after {_spread(heard)}; looked for at least every {max(taken.blur_s for _, taken in ours):.2f} s"
        )


def _worst(samples: Iterable[tuple[int, float, float | None]]) -> list[float]:
    worst: dict[tuple[int, float], float] = {}
    for run, at_s, seconds in samples:
        if seconds is not None:
            worst[run, at_s] = max(seconds, worst.get((run, at_s), 0.0))
    return sorted(worst.values())


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{percentile(values, 50):.2f} s (p50), {percentile(values, 95):.2f} s (p95), {max(values):.2f} s (longest)"


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest of them that so many hundredths do not exceed; `values` in order."""
    return values[max(0, math.ceil(len(values) * part / 100) - 1)]


def total(results: Sequence[Result]) -> list[Session]:
    """All sessions of several runs."""
    return [session for result in results for session in result.sessions]


def write(results: Sequence[Result], path: Path) -> None:
    """As JSON."""
    said = {"kept": all(result.is_kept for result in results), "runs": [result.as_json() for result in results]}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(said), indent=1) + b"\n")


def live_row(client: str, figures: Sequence[Figures], turns: int) -> tuple[str, ...]:
    """While it runs."""
    sums = [
        sum(getattr(each, name) for each in figures)
        for name in ("sent", "down_due", "down_doubled", "asked_again", "foreign")
    ]
    return (client, str(len(figures)), str(turns), *(f"{value:,}" for value in sums))
