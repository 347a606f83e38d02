"""`make seeds`: every fault again and again, each time with another seed, and what came of it as a table.

A run is one seed: clients of every class speak for some seconds, and the fault strikes once, at a moment that the seed
decides. What it showed is written at once, a line of JSON, so that a campaign that was broken off goes on where it was.

    python -m tests.acceptance.seeds --seeds 50 --fault "bridge kill" --fault "redis failover" --minutes 20
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from cli.load.doors.classes import NAMES
from cli.load.faults import KINDS, PACKETS, Kind
from cli.load.fleet import Fleet, fleet
from cli.load.judgement import NEVER_MS
from cli.load.packets import can_be_dropped
from cli.load.report import percentile
from cli.load.run import Plan, Run
from cli.load.witness import Witness, model

LONG = ("half-open 25 s", "drop 25 s")
RACY = tuple(
    name
    for name, kind in KINDS.items()
    if name not in LONG and kind.how != "stall" and (can_be_dropped() or kind not in PACKETS)
)
"""All whose outcome may depend on the moment, and that can be done here; those left out are long, or only late."""
AT_ONCE = 5
"""Seeds of one fault, before the next fault has its turn: a campaign that ends early has seen something of each."""
SECONDS = 7.0
EVERY_S = 6.0
FIGURES = ("sent", "up_lost", "up_doubled", "down_lost", "cut_off", "down_doubled", "asked_again", "interleaved", "foreign")


@dataclass(frozen=True)
class Row:
    """What is known of one fault. Counts are frames of 20 ms, of all sessions of all seeds."""

    fault: str
    seeds: int
    kept: int
    """of these, all promises"""
    sessions: int
    figures: dict[str, int]
    longest_gap_ms: int
    longest_repeat_ms: int
    gaps: int
    announced: int
    """of clients that are told of holes"""
    takeovers: int
    orphans: int
    owned_p95_s: float | None
    heard_p95_s: float | None
    """of each kill the session that waited longest"""
    broken: tuple[str, ...]
    """which promise, and the seed that shows it"""


def row(fault: str, runs: Sequence[dict[str, Any]]) -> Row:
    sessions = [session for run in runs for session in run["sessions"]]
    figures = [session["figures"] for session in sessions]
    told = [session["figures"] for session in sessions if session["client"] in ("openai", "openai-http", "watch-by-id")]
    taken = [takeover for run in runs for takeover in run["takeovers"]]
    return Row(
        fault=fault,
        seeds=len(runs),
        kept=sum(run["kept"] for run in runs),
        sessions=len(sessions),
        figures={name: sum(each[name] for each in figures) for name in FIGURES},
        longest_gap_ms=max((each["down_gap_ms"] for each in figures), default=0),
        longest_repeat_ms=max((each["down_repeat_ms"] for each in figures), default=0),
        gaps=sum(each["down_gaps"] for each in told),
        announced=sum(each["announced"] for each in told),
        takeovers=len(taken),
        orphans=sum(each["owned_s"] is None and not each["is_over"] for each in taken),
        owned_p95_s=_p95(_longest(runs, "owned_s")),
        heard_p95_s=_p95(_longest(runs, "heard_s")),
        broken=tuple(sentence for run in runs for sentence in _broken(run)),
    )


def _longest(runs: Sequence[dict[str, Any]], name: str) -> list[float]:
    each = [[taken[name] for taken in run["takeovers"] if taken[name] is not None] for run in runs]
    return sorted(max(seconds) for seconds in each if seconds)


def _p95(values: Sequence[float]) -> float | None:
    return round(percentile(values, 95), 2) if values else None


def _broken(run: dict[str, Any]) -> Iterator[str]:
    seed = run["plan"]["seed"]
    if "error" in run:
        yield f"seed {seed}: {run['error']}"
    yield from (f"seed {seed}: {complaint}" for complaint in run["complaints"])
    for session in run["sessions"]:
        yield from (f"seed {seed}, {session['client']}: {complaint}" for complaint in session["broken"])


def text(rows: Iterable[Row]) -> Iterator[str]:
    """A table in Markdown, and below it each promise that was not kept."""
    rows = list(rows)
    yield (
        "| fault | seeds | kept | sessions | frames | up lost | up doubled | down lost | longest gap | heard again | longest"
        " | asked anew | holes, told | taken over, p95 | heard of, p95 | orphans |"
    )
    yield "|---|" + "--:|" * 15
    for each in rows:
        figures = each.figures
        repeat = "∞" if each.longest_repeat_ms >= NEVER_MS else f"{each.longest_repeat_ms} ms"
        cells = (
            *(f"`{each.fault}`", each.seeds, each.kept, each.sessions, f"{figures['sent']:,}", figures["up_lost"]),
            *(figures["up_doubled"], figures["down_lost"], f"{each.longest_gap_ms} ms", figures["down_doubled"], repeat),
            *(figures["asked_again"], f"{each.gaps}, {each.announced}", _seconds(each.owned_p95_s)),
            *(_seconds(each.heard_p95_s), each.orphans if each.takeovers else "-"),
        )
        yield "| " + " | ".join(map(str, cells)) + " |"
    for each in rows:
        yield from (f"{each.fault}: {sentence}" for sentence in each.broken)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def file_of(folder: Path, fault: str) -> Path:
    return folder / f"{fault.replace(' ', '-')}.jsonl"


def done(folder: Path, fault: str) -> list[dict[str, Any]]:
    """What was run before. A line that was broken off in the middle counts as not run."""
    path = file_of(folder, fault)
    runs = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            runs.append(msgspec.json.decode(line))
        except msgspec.DecodeError:
            continue
    return runs


def write(folder: Path, faults: Iterable[str]) -> list[Row]:
    """`summary.json` and `summary.md` of all that was run."""
    rows = [row(fault, runs) for fault in faults if (runs := done(folder, fault))]
    (folder / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n")
    (folder / "summary.md").write_text("\n".join(text(rows)) + "\n")
    return rows


async def some(folder: Path, kind: Kind, seeds: Sequence[int], until: float) -> None:
    """On one fleet; after a run that could not be finished on a new one."""
    waiting = list(seeds)
    while waiting and time.monotonic() < until:
        witness = Witness()
        async with AsyncExitStack() as stack:
            base_url = await stack.enter_async_context(model(witness, 2.0))
            ships = await stack.enter_async_context(fleet(base_url, 2, kinds=(kind,), bridges=4 if kind.is_half else 2))
            while waiting and time.monotonic() < until:
                said = await one(kind, waiting.pop(0), ships, witness)
                with file_of(folder, kind.name).open("ab") as file:
                    file.write(msgspec.json.encode(said) + b"\n")
                if "error" in said:
                    break


async def one(kind: Kind, seed: int, ships: Fleet, witness: Witness) -> dict[str, Any]:
    plan = Plan(clients=NAMES, kinds=(kind,), seconds=SECONDS, every_s=EVERY_S, seed=seed)
    try:
        result = await Run(plan, ships.urls, witness, ships).go()
    except (ExceptionGroup, TimeoutError, OSError) as error:
        print(f"{kind.name}, seed {seed}: {error!r}", flush=True)
        nothing: dict[str, Any] = {"complaints": (), "sessions": (), "takeovers": ()}
        return {"plan": {"seed": seed}, "error": repr(error), "kept": False, **nothing}
    print(f"{kind.name}, seed {seed}: {'kept' if result.is_kept else 'not kept'}", flush=True)
    return {**result.as_json(), "complaints": result.broken}


async def campaign(folder: Path, faults: Sequence[str], seeds: int, minutes: float) -> list[Row]:
    until = time.monotonic() + 60 * minutes
    for least in range(AT_ONCE, seeds + AT_ONCE, AT_ONCE):
        for fault in faults:
            known = {run["plan"]["seed"] for run in done(folder, fault)}
            await some(folder, KINDS[fault], [seed for seed in range(1, 1 + min(least, seeds)) if seed not in known], until)
            write(folder, KINDS)
    return write(folder, KINDS)


def main() -> int:
    """0 when every promise was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fault", action="append", choices=tuple(KINDS), help="may be given often; default: all racy ones")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=24 * 60.0, help="no run is begun later; the next call goes on")
    parser.add_argument("--out", type=Path, default=Path(".parley/seeds"), help="where the figures are, and what is done")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rows = runner.run(campaign(options.out, options.fault or RACY, options.seeds, options.minutes))
    print(*text(rows), sep="\n")
    return 0 if all(each.kept == each.seeds for each in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
