"""The documentation names what is there: files, settings, keys, messages, metrics, limits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from cli.settings import CommandSettings
from gateway.metrics import Metrics
from gateway.settings import GatewaySettings
from realtime_bridge.settings import BridgeSettings
from runtime.settings import Settings
from streams import down, keys, pcm, turns, up
from transcoder.settings import TranscoderSettings

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*DOCS, ROOT / "README.md"]
STREAMS = ROOT / "docs" / "streams.md"
CLASSES: tuple[type[Settings], ...] = (GatewaySettings, BridgeSettings, TranscoderSettings, CommandSettings)

BACKTICKS = re.compile(r"`([^`\n]+)`")
REPO_FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)+\.(?:py|lua|md|toml|json|js)")
DEFINITION = re.compile(r"^(?:(?:export )?const )?([A-Z_]+) = ", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
SETTING_ROW = re.compile(r"^\| *`([A-Z][A-Z0-9_]*)` *\| *(?:`([^`]*)`)?", re.MULTILINE)


def name(path: Path) -> str:
    return path.name


def without_code_blocks(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What a heading can be linked to by, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", without_code_blocks(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def aliases() -> dict[str, object]:
    """Every environment variable and its default."""
    fields = [field for cls in reversed(CLASSES) for field in cls.model_fields.values()]
    return {field.alias: field.default for field in fields if field.alias is not None}


def rows(page: str, column: int) -> list[str]:
    """All that stands in backticks in one column of a page's tables."""
    cells = [line.split("|")[column] for line in page.splitlines() if line.startswith("|") and line.count("|") > column]
    return [named for cell in cells for named in BACKTICKS.findall(cell)]


def test_the_pages_are_there() -> None:
    expected = {"architecture", "streams", "client-protocols", "backpressure", "operations", "glossary"}
    assert {page.stem for page in DOCS} >= expected


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_is_named_exists(page: Path) -> None:
    """What stands in backticks and looks like a file of this repository."""
    named = {text for text in BACKTICKS.findall(without_code_blocks(page)) if REPO_FILE.fullmatch(text)}
    assert {path for path in named if not (ROOT / path).is_file()} == set()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file or folder of the repository, and to a heading that it has."""
    broken: list[str] = []
    for path, anchor in LINK.findall(without_code_blocks(page)):
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(f"{path}#{anchor}")
    assert broken == []


def test_the_readme_has_every_setting() -> None:
    """And none that no service reads."""
    assert {variable for variable, _ in SETTING_ROW.findall((ROOT / "README.md").read_text())} == set(aliases())


def test_the_readme_tells_the_defaults() -> None:
    """An empty cell is a setting without one."""
    told = dict(SETTING_ROW.findall((ROOT / "README.md").read_text()))
    defaults = {variable: "" if default is None else f"{default}" for variable, default in aliases().items()}
    assert {variable: default.removesuffix(".0") for variable, default in defaults.items()} == told


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_page_names_a_setting_that_is_not_there(page: Path) -> None:
    of_compose = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert set(re.findall(r"\bPARLEY_[A-Z_]+\b", page.read_text())) <= set(aliases()) | of_compose


def test_every_key_has_its_row() -> None:
    """And no row names a key that is none."""
    ours = {*keys.SessionKeys("sid").all, keys.SESSIONS, keys.dispatch("bridge"), keys.dispatch("transcoder"), keys.WEBHOOKS}
    ours.add(keys.GATEWAYS)
    session = keys.SessionKeys("sid")
    ours |= {session.kept, session.webhook, session.forgotten}
    documented = {row for row in rows(STREAMS.read_text(), 1) if row.startswith("parley:")}
    assert documented == {
        *ours,
        "parley:at:<user>:<conversation>",
        keys.ticket("<sha256>"),
        "parley:usage:<user>:<day>",
        "parley:limit:<what>:<sort>:<who>",
        "parley:of:<user>",
        "parley:record:<id>",
        "parley:records:<user>",
    }


@pytest.mark.parametrize(
    ("stream", "union"),
    [("up", up.UpMessage), ("pcm", pcm.PcmMessage), ("down", down.DownMessage), ("turns", turns.TurnsMessage)],
)
def test_every_kind_of_message_has_its_place(stream: str, union: object) -> None:
    """In the row of its stream."""
    row = next(line for line in STREAMS.read_text().splitlines() if re.match(rf"\| `{stream}` \| `(gen|opened)`", line))
    kinds = re.sub(r"\([^)]*\)", "", row.split("|")[2])
    assert set(BACKTICKS.findall(kinds)) == {str(cls.__struct_config__.tag) for cls in get_args(union)}


def test_every_answer_of_the_append_script_is_explained() -> None:
    answers = set(re.findall(r"\{'([a-z]+)', ", (ROOT / "streams" / "append.lua").read_text()))
    assert answers <= set(rows(STREAMS.read_text(), 1))
    assert answers


def test_every_metric_is_explained() -> None:
    exposed = set(re.findall(r"^# TYPE (parley_\w+)", Metrics().exposition().decode(), re.MULTILINE))
    documented = {row for row in rows((ROOT / "docs" / "operations.md").read_text(), 1) if row.startswith("parley_")}
    assert documented == exposed


def test_bounds_are_named_as_in_the_code() -> None:
    """A constant in the table of queues is defined in a file that its row names."""
    missing: list[str] = []
    table = (line for line in (ROOT / "docs" / "backpressure.md").read_text().splitlines() if line.startswith("|"))
    for line in table:
        sources = [(ROOT / text).read_text() for text in BACKTICKS.findall(line) if REPO_FILE.fullmatch(text)]
        defined = {constant for source in sources for constant in DEFINITION.findall(source)}
        missing += set(re.findall(r"\(`([A-Z_]+)`\)", line)) - defined
    assert missing == []
