"""The files marked PURE decide without I/O, and so import nothing that does any."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import transcoder

FORBIDDEN = {"asyncio", "aiohttp", "redis", "av", "time", "socket", "os", "subprocess"}
PACKAGE = Path(transcoder.__path__[0])
PURE = [path for path in sorted(PACKAGE.rglob("*.py")) if path.read_text().startswith('"""PURE')]


def test_there_are_pure_files() -> None:
    names = {path.relative_to(PACKAGE).as_posix() for path in PURE}
    assert names >= {"framer.py", "limits.py", "sniffer.py", "trim.py", "wire.py", "demux/mp4.py"}


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.name)
def test_it_imports_no_io(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert not imported & FORBIDDEN


def test_the_worker_side_loads_no_codec_library() -> None:
    """Only a child imports av: hostile bytes cannot reach it in the worker."""
    for name in ("sandbox", "wire", "decoded", "errors", "limits", "framer"):
        assert "av" not in (PACKAGE / f"{name}.py").read_text().split()
