"""`python -m bench`: what a session costs and how long a frame takes, beside the floor and a bare relay, in one run."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bench import floor as floor_bench
from bench import media as media_bench
from bench import media_report, report
from bench import profile as profiling
from bench.machine import describe
from bench.record import LoadFailed
from bench.rounds import Plan, Rounds
from bench.stage import FloorStage, Stage
from bench.summary import summarise
from bench.whole import WholeRun
from runtime.errors import ParleyError

_WIDTH = 150
"""Of the terminal, at least: figures that are cut off are none."""

QUICK = Plan(rounds=2, seconds=3.0, warm_up_s=1.0, recording_rounds=1, idle=500)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="How often everything is measured.")] = 5,
    seconds: Annotated[float, typer.Option(min=1, help="Of each measurement.")] = 5.0,
    warm_up: Annotated[float, typer.Option(min=0, help="Seconds of speech before each, that do not count.")] = 1.5,
    sessions: Annotated[
        str, typer.Option(help="How many are open at once, with commas between; 100:20: of which 20 talk.")
    ] = "10,50,100:20",
    idle: Annotated[int, typer.Option(min=0, help="Connections on which nobody speaks; 0: leave that out.")] = 10_000,
    quick: Annotated[bool, typer.Option(help="Two rounds of 3 s: to see that it works.")] = False,
    keep: Annotated[bool, typer.Option(help="Write the file to bench/results, to be committed.")] = False,
    media: Annotated[bool, typer.Option(help="Only the transcoder's codecs: in, out, and beside pydub and ffmpeg.")] = False,
    floor: Annotated[bool, typer.Option(help="Also what costs least with Redis in the way, at the most sessions.")] = False,
    profile: Annotated[bool, typer.Option(help="Only watch gateway and bridge with py-spy, at the most sessions.")] = False,
    py_spy: Annotated[str | None, typer.Option(help="Where py-spy is, if it is not on the PATH.")] = None,
) -> None:
    """Measure Parley beside a direct connection and a bare relay."""
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)
    plan = QUICK if quick else Plan(rounds, seconds, warm_up, _crowds(sessions), idle=idle)
    try:
        if media:
            _media(console, media_bench.QUICK if quick else media_bench.MediaPlan(rounds, seconds), keep=keep)
        elif floor:
            _floor(console, plan)
        elif profile:
            _profile(console, plan, py_spy)
        else:
            _measure(console, plan, keep=keep)
    except (ParleyError, LoadFailed) as error:
        console.print(str(error), style="red", soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("Stopped.")
        raise typer.Exit(130) from None


def _measure(console: Console, plan: Plan, *, keep: bool) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("Measuring", total=plan.steps)
        run = WholeRun(plan)
        for line in run.go():
            progress.console.print(line, style="dim", soft_wrap=True)
            progress.advance(task)
    assert run.record is not None
    summary = summarise(run.record)
    report.show(console, summary, run.record, run.machine, rounds=plan.rounds)
    folder = report.KEPT if keep else report.PASSING
    path = report.write(folder, summary, run.record, run.machine, asdict(plan))
    console.print(f"All figures of all rounds: {path}\nPlots: {path.with_suffix('.html')}")


def _crowds(typed: str) -> tuple[tuple[int, int], ...]:
    """`10,100:20` → ten of whom all talk, a hundred of whom twenty do."""
    try:
        pairs = [tuple(map(int, each.split(":"))) for each in typed.split(",")]
        crowds = tuple((pair[0], pair[-1]) for pair in pairs if len(pair) <= 2)
        if len(crowds) == len(pairs) and all(0 < talking <= sessions for sessions, talking in crowds):
            return crowds
    except ValueError:
        pass
    raise typer.BadParameter("numbers with commas between, such as 10,50,100:20", param_hint="--sessions")


def _media(console: Console, plan: media_bench.MediaPlan, *, keep: bool) -> None:
    with console.status("Making media …") as status:
        record = asyncio.run(media_bench.Media(plan).run(status.update))
    machine = describe(None, ("av", "numpy"))
    media_report.show(console, record, machine, rounds=plan.rounds)
    path = media_report.write(report.KEPT if keep else report.PASSING, record, machine, asdict(plan))
    console.print(f"All figures: {path}")


def _floor(console: Console, plan: Plan) -> None:
    most = max(talking for _, talking in plan.sessions)
    with FloorStage() as stage, closing(Rounds(stage, plan)) as rounds:
        measured = [
            rounds.measure(number, most, most, arm) for number in range(1, plan.rounds + 1) for arm in floor_bench.ARMS
        ]
    console.print(
        f"CPU of what stands between client and model, but for Redis, a session-second; {most} sessions:", soft_wrap=True
    )
    for told in floor_bench.told(measured):
        console.print(told)


def _profile(console: Console, plan: Plan, py_spy: str | None) -> None:
    program = profiling.find(py_spy)
    if program is None:
        console.print(profiling.HOW_TO_INSTALL, soft_wrap=True)
        raise typer.Exit(1)
    most, folder = max(talking for _, talking in plan.sessions), Path(report.PASSING)
    console.print(f"Watching gateway and bridge with {most} sessions for {plan.seconds:g} s …")
    with Stage() as stage, closing(Rounds(stage, plan)) as rounds:
        found = profiling.profile(program, stage, rounds, most, plan.seconds, folder)
    for name in profiling.PROFILED:
        if name not in found:
            console.print(f"py-spy could not watch the {name}: does it have ptrace rights?", style="yellow")
        else:
            profiling.table(name, found[name], console)
    console.print(f"The stacks, for a flame graph: {folder}/*.stacks")


if __name__ == "__main__":
    typer.run(main)
