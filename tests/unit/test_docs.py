"""The documentation names what is there: files, settings, keys, messages, metrics, error codes, limits."""

from __future__ import annotations

import ast
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, cast, get_args

import pytest
from prometheus_client.metrics import MetricWrapperBase

import gateway
import transcoder
from cli.settings import CommandSettings
from gateway.errors import DoorError
from gateway.metrics import Metrics as GatewayMetrics
from gateway.settings import GatewaySettings
from realtime_bridge import budget
from realtime_bridge.metrics import Metrics as BridgeMetrics
from realtime_bridge.settings import BridgeSettings
from realtime_bridge.verdicts import FATAL_CODES
from runtime.metrics import QueueWaits
from runtime.settings import Settings
from streams import down, keys, pcm, turns, up
from transcoder.errors import MediaError
from transcoder.metrics import Metrics as TranscoderMetrics
from transcoder.settings import TranscoderSettings

ROOT = Path(__file__).parents[2]
DOCS = [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "tutorials").glob("*.md"))]
PAGES = [*DOCS, ROOT / "README.md"]
ERRORS = ROOT / "docs" / "errors.md"
OBSERVABILITY = ROOT / "docs" / "observability.md"
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
    expected |= {"README", "threat-model", "capacity", "cloud"}
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


def test_every_page_has_its_place_in_the_order() -> None:
    """Whoever follows docs/README.md comes by all of them."""
    order = ROOT / "docs" / "README.md"
    linked = {(order.parent / path).resolve() for path, _ in LINK.findall(order.read_text())}
    assert {page for page in DOCS if page != order} <= linked


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
    """Of all services, with its labels; and none that is not there."""
    documented = {
        row.split("|")[1].strip(" `"): set(BACKTICKS.findall(row.split("|")[2]))
        for row in OBSERVABILITY.read_text().splitlines()
        if row.startswith("| `parley_")
    }
    exposed: dict[str, set[str]] = {}
    for metrics in (GatewayMetrics(), TranscoderMetrics(), BridgeMetrics()):
        for collector in metrics.registry._collector_to_names:
            if isinstance(collector, MetricWrapperBase | QueueWaits):
                labels = collector.labels if isinstance(collector, QueueWaits) else collector._labelnames
                for family in collector.describe():
                    exposed[family.name + ("_total" if family.type == "counter" else "")] = set(labels)
    assert documented == exposed


def table_of(heading: str) -> list[list[str]]:
    """The cells of the table below a heading of the page of errors."""
    section = ERRORS.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def import_all(package: ModuleType) -> None:
    """So that all its errors are known."""
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            import_module(module.name)


def every_subclass(root: type[Any]) -> Iterator[type[Any]]:
    for cls in root.__subclasses__():
        yield cls
        yield from every_subclass(cls)


def test_every_error_of_the_gateway_is_explained() -> None:
    """With how it is told, whose fault it is, and whether to try again."""
    import_all(gateway)
    expected: dict[str, list[str]] = {}
    for cls in every_subclass(DoorError):
        if "code" in vars(cls):
            numbers = ("HTTP", getattr(cls, "status", None)), ("close", getattr(cls, "close_code", None))
            told = ", ".join(f"{how} {number}" for how, number in numbers if isinstance(number, int))
            error = cast(type[DoorError], cls)
            expected[f"`{error.code}`"] = [told, error.fault, "yes" if error.recoverable else "no"]
    rows = {code: row for code, *row, _ in table_of("Gateway")}
    assert rows == expected


def test_every_error_of_the_transcoder_is_explained() -> None:
    import_all(transcoder)
    rows = {code: row for code, *row, _ in table_of("Transcoder")}
    errors = [cast(type[MediaError], cls) for cls in every_subclass(MediaError)]
    assert rows == {f"`{cls.code}`": [cls.fault, "yes" if cls.recoverable else "no"] for cls in errors}


def literal_codes(package: str, calls: set[str]) -> set[str]:
    """What stands as `code`, or first, in calls of these."""
    found: set[str] = set()
    for path in (ROOT / package).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in calls:
                values = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "code")]
                found |= {
                    value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)
                }
    return found


def test_every_error_of_the_bridge_is_explained() -> None:
    """Whatever is written down in the code; what a model's server invents nobody can list."""
    limits = {budget.USAGE_LIMIT, budget.USAGE_LIMIT_NEAR, budget.SESSION_TOO_LONG, budget.SESSION_ENDS_SOON, budget.IDLE}
    said = literal_codes("realtime_bridge", {"Failed", "Notice", "UpstreamRefused", "UpstreamUnavailable", "_end"})
    documented = {code for row in table_of("Bridge") for code in BACKTICKS.findall(row[0])}
    assert documented - {"http_<status>", "close_<code>"} == said | limits | set(FATAL_CODES)


def test_every_error_of_a_function_call_is_explained() -> None:
    tools = (ROOT / "docs" / "tools.md").read_text().partition("## What you answer")[2].partition("\n## ")[0]
    documented = {code for row in rows(tools, 1) for code in re.findall(r"^([a-z_]+)$|\"code\": \"([a-z_]+)\"", row)}
    assert {one or other for one, other in documented} == literal_codes("realtime_bridge", {"_NoOutput", "failure"})


def test_every_mistake_that_the_openai_door_tells_is_named() -> None:
    named = set(BACKTICKS.findall(ERRORS.read_text().partition("\nThe OpenAI door says")[2].partition("\n\n")[0]))
    assert named == literal_codes("gateway/doors", {"Mistake"})


def test_bounds_are_named_as_in_the_code() -> None:
    """A constant in the table of queues is defined in a file that its row names."""
    missing: list[str] = []
    table = (line for line in (ROOT / "docs" / "backpressure.md").read_text().splitlines() if line.startswith("|"))
    for line in table:
        sources = [(ROOT / text).read_text() for text in BACKTICKS.findall(line) if REPO_FILE.fullmatch(text)]
        defined = {constant for source in sources for constant in DEFINITION.findall(source)}
        missing += set(re.findall(r"\(`([A-Z_]+)`\)", line)) - defined
    assert missing == []
