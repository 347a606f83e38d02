"""The figures of the page on capacity are those of the result files that it names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench import docs

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "capacity.md").read_text()
RESULT = re.compile(r"`(bench/results/[\w.-]+\.json)`")


def section(heading: str) -> tuple[Any, list[list[str]]]:
    """The result that a section names first, and the cells of its table, but for the head's."""
    text = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    named = RESULT.search(text)
    assert named is not None
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return json.loads((ROOT / named[1]).read_text()), [[cell.strip() for cell in row] for row in rows[1:]]


def test_every_result_that_is_named_is_there() -> None:
    named = RESULT.findall(PAGE)
    assert named
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_what_a_session_costs() -> None:
    result, rows = section("What a session costs")
    arms = {(f"{arm['sessions']}", arm["arm"]): arm for arm in result["summary"]["arms"]}
    for sessions, *told in rows:
        arm = arms[sessions, "parley"]
        cpu = [arm["cpu"][service]["median"] for service in ("gateway", "bridge", "redis")]
        expected = [*cpu, arm["p50_ms"]["median"], arm["p99_ms"]["median"], arm["busy"]["median"]]
        assert told == [f"{figure:.1f}" for figure in expected]
        memory = arm["memory_rss_mb"]
        for service in ("gateway", "bridge", "redis"):
            assert f"{memory[service]['high']:.0f} MB ({service}, {sessions} sessions)" in PAGE


def test_what_a_codec_costs() -> None:
    result, rows = section("What a codec costs")
    sessions = {(each["both"], each["sessions"]): each for each in result["record"]["sessions"]}
    for (_, *told), both in zip(rows, (False, True), strict=True):
        cost = sessions[both, 40]
        assert told == [f"{cost['worker_ms']:.1f}", f"{cost['children_ms']:.1f}"]


def test_the_tables_of_a_whole_run_are_those_of_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made by `python -m bench.docs`, and changed by nobody; there may be none yet."""
    monkeypatch.chdir(ROOT)
    tables = docs.within(PAGE)[1].strip()
    named = RESULT.search(tables)
    assert tables == (docs.told(Path(named[1])).strip() if named is not None else "")


def test_the_page_takes_the_tables_of_another_run() -> None:
    before, tables, after = docs.within(f"a\n{docs.BEGIN}old\n{docs.END}b\n")
    assert (before, tables, after) == (f"a\n{docs.BEGIN}", "old\n", f"{docs.END}b\n")
    with pytest.raises(ValueError, match="no place"):
        docs.within("a page without")
