"""Where a figure was measured: it means nothing without."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from runtime.embedded import ServerBinary

LIBRARIES = ("aiohttp", "uvloop", "redis", "hiredis", "msgspec", "msgpack", "pybase64")


def describe(server: ServerBinary | None, libraries: Sequence[str] = LIBRARIES) -> dict[str, str]:
    """A line for each thing that matters. No server: it takes no part."""
    lines = {
        "processor": f"{_processor()}, {os.cpu_count()} cores, {len(os.sched_getaffinity(0))} for us",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / (1 << 30):.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": ", ".join(f"{name} {version(name)}" for name in libraries),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "parley": commit(),
    }
    if server is not None:
        lines["server"] = f"{server.name} {'.'.join(map(str, server.version))}"
    return lines


def commit() -> str:
    """The short hash of what is measured, `+` when it has changes that are not committed."""
    hash_ = _git("rev-parse", "--short", "HEAD")
    if not hash_:
        return "unknown"
    return hash_ + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: str) -> str:
    here = Path(__file__).parent
    try:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
