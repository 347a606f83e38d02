"""The tutorials show the code that the tests of this folder run: all of it, in its order, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tutorials.stage import ROOT, TUTORIALS

PAGES = sorted(TUTORIALS.glob("*.md"))
LANGUAGES = {".py": "python", ".sh": "sh", ".html": "html", ".js": "js", ".ts": "ts", ".tsx": "tsx", ".swift": "swift"}
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def lines_of(text: str) -> list[str]:
    """But for empty ones: a page may cut between two."""
    return [line for line in text.splitlines() if line.strip()]


def test_there_is_a_page_a_kind_of_client() -> None:
    assert [page.stem for page in PAGES] == ["browser", "curl", "ios", "python", "react-native", "watchos"]
    assert {page.stem for page in PAGES} == {path.name for path in TUTORIALS.iterdir() if path.is_dir()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_its_code(page: Path) -> None:
    """The blocks of a language are, one after the other, its files, in the order in which the page names them."""
    text = page.read_text()
    files = sorted(
        (path for path in (TUTORIALS / page.stem).iterdir()), key=lambda path: text.index(f"]({page.stem}/{path.name})")
    )
    for suffix, language in LANGUAGES.items():
        shown = "\n".join(code for of, code in FENCED.findall(text) if of == language)
        expected = "\n".join(path.read_text() for path in files if path.suffix == suffix)
        assert lines_of(shown) == lines_of(expected), language


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_all_its_parts(page: Path) -> None:
    """Whoever looks for how a client goes on finds it at the same place of each."""
    headings = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)
    parts = ["What you need", "Start Parley", "When the line breaks", "When the user interrupts", "A token", "From here"]
    assert [heading for heading in headings if heading in parts] == parts


def test_the_readme_leads_there() -> None:
    """From its first screen."""
    readme = (ROOT / "README.md").read_text()
    for page in PAGES:
        assert f"](docs/tutorials/{page.name})" in readme[: readme.index("\n## A model behind it")]
