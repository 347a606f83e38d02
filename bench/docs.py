"""`python -m bench.docs RESULT`: put the tables of a kept result into the page on capacity."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from bench.report import RunReport
from bench.tables import markdown, tables

PAGE = Path("docs/capacity.md")
BEGIN, END = "<!-- the tables of a run begin -->\n", "<!-- the tables of a run end -->\n"


def told(result: Path) -> str:
    """What the page says of this result."""
    run = msgspec.json.decode(result.read_bytes(), type=RunReport)
    machine = ", ".join(
        run.machine[name] for name in ("processor", "memory", "kernel", "python", "server") if name in run.machine
    )
    head = f"`{result.as_posix()}`, medians of {run.plan['rounds']} rounds of `make bench`. {machine}."
    return f"{head}\n\n{markdown(tables(run.summary, run.record))}"


def within(page: str) -> tuple[str, str, str]:
    """What comes before the tables, they, and what comes after. Raises ValueError when the page has no place for them."""
    before, begin, rest = page.partition(BEGIN)
    tables_, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE} has no place for the tables of a run")
    return before + begin, tables_, end + after


if __name__ == "__main__":
    begins, _, ends = within(PAGE.read_text())
    PAGE.write_text(f"{begins}\n{told(Path(sys.argv[1]))}\n{ends}")
