"""The dashboard and the alerts go by metrics, labels and codes that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from prometheus_client.metrics import MetricWrapperBase

from gateway.errors import DoorError
from gateway.metrics import Metrics as GatewayMetrics
from realtime_bridge.metrics import Metrics as BridgeMetrics
from realtime_bridge.turn_clock import Outcome
from runtime.metrics import QueueWaits
from transcoder.errors import MediaError
from transcoder.metrics import Metrics as TranscoderMetrics

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
ALERTS = (MONITORING / "alerts.yml").read_text()
CONFIG = (MONITORING / "prometheus.yml").read_text()
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "grafana" / "parley.json").read_text())
COMPOSE = (MONITORING.parents[1] / "docker-compose.yml").read_text()

SELECTOR = re.compile(r"\b((?:parley|process)_\w+)(?:\{([^}]*)\})?")
BY_PATTERN = re.compile(r'__name__=~"(parley_\(([\w|]+)\)_\w+)"')
OF_THE_TARGET = {"job", "instance"}


def series() -> dict[str, set[str]]:
    """Each series that a process gives, and its labels."""
    found: dict[str, set[str]] = {}
    for metrics in (GatewayMetrics(), TranscoderMetrics(), BridgeMetrics()):
        for collector in metrics.registry._collector_to_names:
            labels = collector.labels if isinstance(collector, QueueWaits) else getattr(collector, "_labelnames", ())
            for family in (
                collector.describe() if isinstance(collector, MetricWrapperBase | QueueWaits) else collector.collect()
            ):
                endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
                for ending in endings:
                    found[family.name + ending] = set(labels) | ({"le"} if ending == "_bucket" else set())
    return found


def expressions() -> Iterator[str]:
    """All PromQL that stands in a file."""
    yield from re.findall(r"expr: (?:\|\n)?((?:.+\n)+?)(?= +(?:for|labels):)", ALERTS)
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def selected(expression: str) -> Iterator[tuple[str, str]]:
    """The series that it takes, and by which labels."""
    for pattern, services in BY_PATTERN.findall(expression):
        yield from ((re.sub(r"\([^)]*\)", service, pattern), "") for service in services.split("|"))
    yield from SELECTOR.findall(BY_PATTERN.sub("", expression))


EXPRESSIONS = list(expressions())


def test_there_is_something_to_look_at() -> None:
    assert len(re.findall(r"^ +- alert: \w+$", ALERTS, re.MULTILINE)) == len(re.findall(r"^ +expr: ", ALERTS, re.MULTILINE))
    assert len(EXPRESSIONS) > 30


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_is_asked_for_is_there(expression: str) -> None:
    """By its labels, too."""
    known = series()
    found = list(selected(expression))
    assert found or expression.startswith(("up", "sum by (job) (up"))
    assert {name for name, _ in found} <= known.keys()
    grouped = {label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", expression) for label in labels.split(",")}
    for name, labels in found:
        assert set(re.findall(r"(\w+)\s*=~?", labels)) <= known[name] | OF_THE_TARGET, name
    assert grouped <= OF_THE_TARGET.union(*(known[name] for name, _ in found))


def test_every_metric_is_on_the_dashboard() -> None:
    """What nobody looks at need not be counted."""
    shown = {
        name for panel in DASHBOARD["panels"] for each in panel.get("targets", ()) for name, _ in selected(each["expr"])
    }
    ours = {name for name in series() if name.startswith("parley_") and not name.endswith(("_count", "_sum"))}
    assert ours <= shown


def every_code(root: type[Any]) -> set[str]:
    return {root.code}.union(*(every_code(cls) for cls in root.__subclasses__()))


def test_codes_and_outcomes_are_those_of_the_code() -> None:
    codes = {code for found in re.findall(r'code=~?"([\w|]+)"', "".join(EXPRESSIONS)) for code in found.split("|")}
    assert codes
    assert codes <= every_code(DoorError) | every_code(MediaError)
    assert set(re.findall(r'outcome="(\w+)"', "".join(EXPRESSIONS))) <= set(get_args(Outcome))


def test_each_panel_has_its_place() -> None:
    """No two on the same spot, each with an id of its own."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_prometheus_asks_at_the_containers_port() -> None:
    """Each service by a job of the name that alerts go by."""
    (port,) = set(re.findall(r"port: (\d+)", CONFIG))
    assert f'PARLEY_METRICS_PORT: "{port}"' in COMPOSE
    jobs = re.findall(r"job_name: parley-(\w+)\n +dns_sd_configs: \[\{names: \[(\w+)\]", CONFIG)
    assert [job for job, _ in jobs] == [service for _, service in jobs] == ["gateway", "transcoder", "bridge"]


def test_every_alert_is_tested() -> None:
    """By `promtool test rules`, where there is one."""
    tested = (MONITORING / "alerts.test.yml").read_text()
    assert [alert for alert in re.findall(r"- alert: (\w+)", ALERTS) if alert not in tested] == []
