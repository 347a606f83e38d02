from __future__ import annotations

import ast
from pathlib import Path

import pytest

import simulator

ROOT = Path(simulator.__file__).parent
FORBIDDEN = {"asyncio", "aiohttp", "redis", "av", "time", "openai"}
PURE = sorted(path for path in ROOT.rglob("*.py") if path.read_text().startswith('"""PURE'))


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.name)
def test_pure_modules(path: Path) -> None:
    """a module that calls itself pure knows no clock, no socket and no event loop."""
    assert not imports(path) & FORBIDDEN


def test_no_sdk() -> None:
    """the official SDK is for tests alone."""
    assert all("openai" not in imports(path) for path in ROOT.rglob("*.py"))
