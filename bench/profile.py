"""Where the time of a frame goes: py-spy on gateway and bridge while sessions speak. It is no dependency of ours."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.rounds import Rounds
from bench.stage import Stage

PROFILED = ("gateway", "bridge")
_RATE_HZ = 200
_SHOWN = 25

HOW_TO_INSTALL = (
    "py-spy was not found. It is no dependency of Parley: install it by hand, for instance into a virtualenv of its own"
    " (python3 -m venv /tmp/py-spy && /tmp/py-spy/bin/pip install py-spy), and put it on the PATH or say where it is"
    " (--py-spy /tmp/py-spy/bin/py-spy). It reads the memory of other processes: that needs root or ptrace rights."
)


@dataclass(frozen=True, slots=True)
class Share:
    """One function's part of the time, in percent."""

    name: str
    self_percent: float
    """in the function itself, and in C functions that it calls"""
    total_percent: float
    """with all that it calls"""


def find(named: str | None) -> str | None:
    """The program, if there is one."""
    return shutil.which(named or "py-spy")


def profile(
    program: str, stage: Stage, rounds: Rounds, sessions: int, seconds: float, folder: Path
) -> dict[str, list[Share]]:
    """One more measurement of the parley arm, watched. It counts for no figure: watching costs."""
    folder.mkdir(parents=True, exist_ok=True)
    watchers: list[subprocess.Popen[bytes]] = []
    stacks = {name: folder / f"{name}.stacks" for name in PROFILED}

    def watch() -> None:
        for name, path in stacks.items():
            command = [program, "record", "--pid", str(stage.pids[name]), "--format", "raw", "--output", str(path)]
            # Stopping the process for each sample would catch it at its system calls far too often.
            command += ["--nonblocking", "--rate", str(_RATE_HZ), "--duration", str(max(1, int(seconds) - 1))]
            watchers.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    try:
        rounds.measure(0, sessions, sessions, "parley", during=watch)
        for watcher in watchers:
            watcher.wait(30)
    finally:
        for watcher in watchers:
            with suppress(ProcessLookupError):
                watcher.kill()
            watcher.wait()
    return {name: shares(path.read_text()) for name, path in stacks.items() if path.exists()}


def shares(stacks: str) -> list[Share]:
    """From py-spy's raw format, `outer;inner;innermost count` a line. The most costly first."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_without_line(frame) for frame in stack.split(";")]
        own[frames[-1]] += int(count)
        for frame in set(frames):
            whole[frame] += int(count)
    total = max(1, own.total())
    return [Share(name, own[name] / total * 100, whole[name] / total * 100) for name, _ in own.most_common()]


def table(name: str, found: list[Share], console: Console) -> None:
    """Show the most costly functions."""
    drawn = Table(title=f"{name}: where its CPU time goes, %", title_justify="left", title_style="bold")
    drawn.add_column("function")
    drawn.add_column("itself", justify="right")
    drawn.add_column("with what it calls", justify="right")
    for share in found[:_SHOWN]:
        drawn.add_row(share.name, f"{share.self_percent:.1f}", f"{share.total_percent:.1f}")
    console.print(drawn)


def _without_line(frame: str) -> str:
    """`send (aiohttp/http_writer.py:120)` → `send (aiohttp/http_writer.py)`"""
    name, colon, number = frame.rpartition(":")
    return name + ")" if colon and number.rstrip(")").isdigit() else frame
