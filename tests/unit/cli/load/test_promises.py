"""The table of promises: each broken one is seen, and the page says what the table says."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from cli.load.doors.classes import CLASSES
from cli.load.faults import KINDS
from cli.load.judgement import NEVER_MS, Figures, judge
from cli.load.ledger import Ledger
from cli.load.promises import CAUSES, TABLE, Promise, broken, cause, loosest

PAGE = Path(__file__).parents[4] / "docs" / "promises.md"
CLEAN = replace(judge(Ledger(1)), sent=100, down_due=100)

BREAKS: dict[str, dict[str, float]] = {
    "frames of other sessions": {"foreign": 1},
    "did not reach the model": {"up_lost": 1, "up_lost_before_ms": 10.0},
    "twice in one utterance": {"up_doubled": 1},
    "reached the model out of order": {"up_reordered": 1},
    "places in what the model heard": {"up_broken": 1},
    "asked once more": {"asked_again": 1},
    "were not heard": {"down_lost": 1, "down_gap_ms": 20, "down_gaps": 1, "announced": 1},
    "the end of 1 answers": {"cut_off": 1, "cut_off_ms": 20},
    "were heard again": {"down_doubled": 1, "down_repeat_ms": NEVER_MS},
    "were heard out of order": {"down_reordered": 1},
    "in the middle of another": {"interleaved": 1},
    "places in what was heard": {"down_broken": 1},
    "are cut out of what the model heard": {"up_cut_ms": 20.0},
    "follow themselves in what the model heard": {"up_again_ms": 20.0},
    "are cut out of what was heard": {"down_cut_ms": 20.0},
    "of what was heard follow themselves": {"down_again_ms": 20.0},
    "are nobody's sound": {"unknown_ms": 60.0},
    "gaps were announced": {"announced": 1},
}


def row(page: str, client: str, why: str) -> list[str]:
    (found,) = re.findall(rf"^\| `{re.escape(client)}` \| {why} \|(.*)\|$", page, re.MULTILINE)
    return [cell.strip() for cell in found.split("|")]


def written(promise: Promise) -> list[str]:
    """As the page has it."""
    before = promise.up_lost_before_ms
    return [
        f"what is sent meanwhile, and {before} ms before" if before else "0",
        f"{promise.down_lost_ms} ms" if promise.down_lost_ms else "0",
        f"{promise.down_repeated_ms} ms" if promise.down_repeated_ms else "0",
        "yes" if promise.asked_again else "no",
        {"nothing": "no", "down": "each, as many as there are", "up": "how much is missing"}[promise.tells],
    ]


@pytest.mark.parametrize(("client", "why"), TABLE)
def test_the_page_says_what_the_table_says(client: str, why: str) -> None:
    assert row(PAGE.read_text(), client, why) == written(TABLE[client, why])  # type: ignore[index]


def test_the_page_has_no_other_rows_and_names_every_fault() -> None:
    page = PAGE.read_text()
    rows = re.findall(rf"^\| `[a-z0-9-]+` \| (?:{'|'.join(CAUSES)}) \|", page, re.MULTILINE)
    assert len(rows) == len(TABLE)
    assert [kind for kind in KINDS if f"`{kind}`" not in page] == []


def test_there_is_a_promise_for_every_client_and_every_fault() -> None:
    assert set(TABLE) == {(client, why) for client in CLASSES for why in CAUSES}
    assert {cause(kind) for kind in KINDS.values()} | {cause(None)} == set(CAUSES)


@pytest.mark.parametrize("what", BREAKS)
def test_each_break_of_a_promise_is_told(what: str) -> None:
    """One sentence, and where nothing is wrong none."""
    promise = TABLE["openai", "line"]
    assert list(broken(promise, CLEAN)) == []
    (sentence,) = broken(promise, with_(**BREAKS[what]))
    assert what in sentence


def with_(**changes: float) -> Figures:
    return replace(CLEAN, **changes)  # type: ignore[arg-type]


def test_a_field_client_may_lose_what_nobody_had_read_and_no_more() -> None:
    promise = TABLE["phone", "line"]
    assert list(broken(promise, with_(up_lost=9, up_lost_before_ms=180.0, breaks=1))) == []
    assert list(broken(promise, with_(up_lost=20, up_lost_before_ms=400.0, breaks=1)))
    assert list(broken(TABLE["phone", "transcoder"], with_(up_lost=9, up_lost_before_ms=180.0, breaks=1)))


def test_a_recorder_is_told_how_much_is_missing() -> None:
    promise = TABLE["web", "line"]
    assert list(broken(promise, with_(announced=2, announced_ms=900.0, missing_ms=1_100, breaks=2, cuts=2))) == []
    assert list(broken(promise, with_(announced=1, announced_ms=200.0, missing_ms=1_100, breaks=2, cuts=2)))


def test_breaks_in_which_nothing_is_missing_excuse_no_wrong_word() -> None:
    """A minute of kills of everything, and a line that broke once: its 1.2 s untold are one complaint."""
    (complaint,) = broken(TABLE["web", "line"], with_(announced_ms=0.0, missing_ms=1_160, breaks=40, cuts=1))
    assert complaint == "0 ms were announced as missing, and 1160 ms were"


def test_what_may_happen_together_is_promised_together() -> None:
    both = loosest("openai", (KINDS["cut"], KINDS["bridge kill"]))
    assert both == Promise(tells="down", asked_again=True)


def test_who_is_not_paced_hears_more_again_of_a_model_that_speaks_fast() -> None:
    """When a gateway is killed; not when a line breaks, and nobody who is paced."""
    kill, cut = (KINDS["gateway kill"],), (KINDS["cut"],)
    assert loosest("phone", kill, 2.0).down_repeated_ms == 2 * loosest("phone", kill).down_repeated_ms == 500
    assert loosest("phone", cut, 2.0) == loosest("phone", cut)
    assert loosest("mobile", kill, 2.0) == loosest("mobile", kill)
    assert loosest("openai", kill, 2.0).down_repeated_ms == 0


def test_the_end_of_an_answer_is_owed_by_the_model_or_lost_by_a_line() -> None:
    """In a run in which both break: what a line may lose is lost wherever in the answer, and the model is asked for the rest
    of all else."""
    bridge, both = (KINDS["bridge kill"],), (KINDS["bridge kill"], KINDS["half-open 5 s"])
    lost = with_(cut_off=1, cut_off_ms=400, dropped=1, dropped_ms=400)
    assert list(broken(loosest("watch", both), lost)) == []
    for client, kinds in (("watch", bridge), ("mobile", both)):
        (sentence,) = broken(loosest(client, kinds), lost)
        assert "was not asked to go on" in sentence
    assert list(broken(loosest("mobile", bridge), with_(cut_off=1, cut_off_ms=400))) == []
