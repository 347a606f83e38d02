"""`make seeds`: what was run is known after a break, and summed up as it was."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec

from cli.load.faults import KINDS
from cli.load.judgement import judge
from cli.load.ledger import Ledger
from tests.acceptance import seeds

CLEAN = replace(judge(Ledger(1)), sent=100, down_due=100)


def run(seed: int, *, asked_again: int = 0, owned_s: float | None = 4.0) -> dict[str, Any]:
    figures = asdict(replace(CLEAN, asked_again=asked_again))
    session = {"client": "openai", "figures": figures, "broken": ["asked"] if asked_again else []}
    taken = [{"owned_s": owned_s, "heard_s": 5.0, "is_over": False}, {"owned_s": 3.0, "heard_s": None, "is_over": False}]
    kept = not asked_again
    return {"plan": {"seed": seed}, "kept": kept, "complaints": [], "sessions": [session], "takeovers": taken}


def test_what_was_run_is_known_and_a_line_that_was_broken_off_is_not(tmp_path: Path) -> None:
    lines = [msgspec.json.encode(run(seed)) for seed in (1, 2)]
    seeds.file_of(tmp_path, "bridge kill").write_bytes(b"\n".join([*lines, lines[0][:40]]))
    assert [each["plan"]["seed"] for each in seeds.done(tmp_path, "bridge kill")] == [1, 2]
    assert seeds.done(tmp_path, "cut") == []


def test_seeds_are_summed_up_and_whoever_broke_a_promise_is_named(tmp_path: Path) -> None:
    runs = [run(1), run(2, asked_again=7), run(3, owned_s=None), {**run(4), "error": "TimeoutError()", "kept": False}]
    row = seeds.row("bridge kill", runs)
    assert (row.seeds, row.kept, row.sessions, row.figures["sent"], row.figures["asked_again"]) == (4, 2, 4, 400, 7)
    assert (row.takeovers, row.orphans, row.owned_p95_s, row.heard_p95_s) == (8, 1, 4.0, 5.0)
    assert row.broken == ("seed 2, openai: asked", "seed 4: TimeoutError()")
    table = list(seeds.text([row]))
    assert table[2].startswith("| `bridge kill` | 4 | 2 | 4 | 400 | 0 | 0 | 0 |")
    assert table[0].count("|") == table[1].count("|") == table[2].count("|")
    assert table[3:] == [f"bridge kill: {sentence}" for sentence in row.broken]


def test_what_is_run_by_itself_are_faults_there_are() -> None:
    assert set(seeds.RACY) <= set(KINDS)
    assert {"bridge kill", "redis failover", "redis reshard", "cut"} <= set(seeds.RACY)
    assert {"half-open 25 s", "drop 25 s", "stall 1 s"}.isdisjoint(seeds.RACY)
