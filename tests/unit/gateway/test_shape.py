"""The package keeps its shape."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from gateway import errors

ROOT = Path(errors.__file__).parents[1]
FORBIDDEN = {"asyncio", "aiohttp", "redis", "time"}


def _imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in names}


def test_pure_files_do_no_io() -> None:
    pure = [path for path in ROOT.rglob("*.py") if path.read_text().startswith('"""PURE.')]
    assert {path.name for path in pure} >= {"session.py", "answers.py", "wav.py", "mobile_messages.py"}
    assert {path.name: found for path in pure if (found := _imports(path) & FORBIDDEN)} == {}


def test_the_gateway_imports_no_other_service() -> None:
    others = {"transcoder", "realtime_bridge", "simulator", "cli"}
    assert {path.name: found for path in ROOT.rglob("*.py") if (found := _imports(path) & others)} == {}


def test_every_error_stands_in_the_tree() -> None:
    """With its own code."""
    assert errors.__doc__ is not None
    classes = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.DoorError)]
    leaves = [cls for cls in classes if not cls.__subclasses__()]
    assert [cls.__name__ for cls in leaves if f"{cls.__name__} " not in errors.__doc__] == []
    assert [cls.__name__ for cls in leaves if f'"{cls.code}"' not in errors.__doc__] == []
    assert len({cls.code for cls in leaves}) == len(leaves)
