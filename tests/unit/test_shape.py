"""The shape of the tree: which way imports point, and that what calls itself pure is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = ("gateway", "transcoder", "realtime_bridge", "simulator")
PACKAGES = (*SERVICES, "streams", "runtime", "cli", "bench")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PURE = [path for path in MODULES if (ast.get_docstring(ast.parse(path.read_text())) or "").startswith("PURE")]
IMPURE = {"asyncio", "aiohttp", "redis", "av", "time", "socket", "subprocess", "threading"}


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PURE, ids=name)
def test_pure_files_do_no_io(path: Path) -> None:
    """No socket, no clock, no event loop, no codec."""
    assert not {module.partition(".")[0] for module in imported(path)} & IMPURE


def test_there_are_pure_files() -> None:
    """The parametrisation above found them, in every part that decides something."""
    assert {path.relative_to(ROOT).parts[0] for path in PURE} >= {*SERVICES, "streams"}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_point_one_way(path: Path) -> None:
    """Services import streams and runtime, never each other; runtime knows nothing; no service imports the command line."""
    package = path.relative_to(ROOT).parts[0]
    ours = {module.partition(".")[0] for module in imported(path)} & set(PACKAGES) - {package}
    services: set[str] = {"streams", "runtime"}
    others: dict[str, set[str]] = {
        "streams": set(),
        "runtime": set(),
        "cli": {*PACKAGES} - {"bench"},
        "bench": set(PACKAGES),
    }
    allowed = others.get(package, services)
    assert ours <= allowed
