"""What this machine lacks for some of the tests is told, in a line each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    """Where there is no program at all, and nothing insists."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_REQUIRE_")}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests/contract/sdks"]
    done = subprocess.run(
        command, cwd=ROOT, env={**environment, "PATH": str(tmp_path)}, capture_output=True, text=True, timeout=50
    )
    told = [line for line in done.stdout.splitlines() if line.startswith("Not run: ")]
    assert len(told) == 6, done.stdout
    for program in ("Chromium", "strace", "curl", "Node.js", "haproxy and no nginx", "iptables"):
        assert [line for line in told if f"There is no {program}" in line], program
    assert "test_python.py" in done.stdout
    assert "test_javascript.py" not in done.stdout
