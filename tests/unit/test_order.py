"""The order of the suite."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tests import order


def test_files_that_take_long_are_there() -> None:
    """One that was renamed would be begun last."""
    assert [name for name in order.LONGEST_FIRST if not (order.ROOT / name).is_file()] == []
    assert len(set(order.LONGEST_FIRST)) == len(order.LONGEST_FIRST)


def test_they_come_first_and_nothing_else_moves() -> None:
    """Tests of a file stay together, in their order."""

    def item(path: Path, name: str) -> Any:
        return cast(Any, SimpleNamespace(path=path, name=name))

    second, first = (order.ROOT / name for name in reversed(order.LONGEST_FIRST[:2]))
    other, another = order.ROOT / "tests/acceptance/test_a.py", order.ROOT / "tests/unit/test_a.py"
    collected = [item(other, "1"), item(second, "2"), item(second, "3"), item(another, "4"), item(first, "5")]
    assert [each.name for each in order.longest_first(collected)] == ["5", "2", "3", "1", "4"]
