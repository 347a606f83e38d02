"""docs/operations.md, "Faults": what an operator is told to look for is what the code writes."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from tests.unit.test_docs import aliases

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "realtime_bridge", "runtime", "streams", "transcoder")
FAULTS = (ROOT / "docs" / "operations.md").read_text().partition("\n## Faults\n")[2]
SHOWN = [line.split("|")[3] for line in FAULTS.splitlines() if line.startswith("|") and line.count("|") == 5]
"""The cells of "what you see"."""

COMMANDS = (
    "CONFIG",
    "HGETALL",
    "INFO",
    "SENTINEL",
    "SLOWLOG",
    "XINFO",
    "XLEN",
    "XPENDING",
    "ZCARD",
    "ZRANGE",
    "redis-cli",
    "parley ",
)
REDIS_OWN = ("OutOfMemoryError: command not allowed when used memory > 'maxmemory'", "Timeout reading from …")
"""Not ours, but redis-py's and the server's."""


@cache
def texts() -> frozenset[str]:
    """All that the code says, piece by piece between what differs each time."""
    found: set[str] = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found |= {piece for piece in re.split(r"%[.\d]*[sdfg]", node.value) if piece.strip()}
    return frozenset(found)


def sentences() -> set[str]:
    """Log lines: what stands in backticks and has blanks in it, but commands."""
    quoted = {text for cell in SHOWN for text in re.findall(r"`([^`]+)`", cell) if " " in text}
    return {text for text in quoted if not text.startswith(COMMANDS)} - {*REDIS_OWN}


def test_there_are_tables() -> None:
    """With a fault a line, which says in each cell what is asked."""
    lines = [line for line in FAULTS.splitlines() if line.startswith("|")]
    assert len(SHOWN) == len(lines) > 30
    assert [line for line in lines if "" in map(str.strip, line.split("|")[1:-1])] == []


def test_every_log_line_is_written_somewhere() -> None:
    """Word for word, but where `…` stands."""
    pieces = {piece.strip(" ;:") for sentence in sentences() for piece in sentence.split("…")}
    assert len(pieces) > 30
    unknown = {piece for piece in pieces if len(piece) > 2 and not any(piece in text for text in texts())}
    assert unknown == set()


def test_every_metric_code_and_reason_exists() -> None:
    """And the settings, and the keys."""
    words = {text for line in FAULTS.splitlines() if line.startswith("|") for text in re.findall(r"`([^` ]+)`", line)}
    code = "\n".join(path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    for word in words:
        if match := re.fullmatch(r"(?:code|reason|door)=\"?(\w+)\"?", word):
            assert match[1].startswith("http_") or f'"{match[1]}"' in code, word
        elif word.startswith("parley_"):
            assert f'"{word.removesuffix("_total")}"' in code, word
        elif word.startswith("PARLEY_") and "…" not in word:
            assert word in aliases(), word
        elif re.fullmatch(r"[a-z]+(?:_[a-z]+)+", word) and word not in THEIRS:
            assert f'"{word}"' in code, word


THEIRS = {"used_memory", "proxy_buffering", "process_cpu_seconds_total"}
