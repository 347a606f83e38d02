"""What `parley up` decides to start."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.screen import Screen
from cli.settings import CommandSettings
from cli.up import Plan, UpOptions, _numbered, make_plan
from runtime.ports import HeldPorts


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "HOST", "PORT", "PARLEY_METRICS_PORT"):
        monkeypatch.delenv(name, raising=False)


def plan(options: UpOptions | None = None) -> Plan:
    """The plan for the environment as it is."""
    with HeldPorts() as ports:
        return make_plan(options or UpOptions(), CommandSettings.load(), Path("/nowhere"), ports, Screen())


def test_without_a_key_the_simulator_answers() -> None:
    """And the bridge is told where it is."""
    made = plan()
    assert made.simulated
    assert [spec.name for spec in made.services] == ["simulator", "transcoder", "bridge", "gateway"]
    simulator, *others = made.services
    port = simulator.command[-1]
    assert {spec.environment["OPENAI_BASE_URL"] for spec in others} == {f"http://127.0.0.1:{port}/v1"}
    assert {spec.environment["OPENAI_API_KEY"] for spec in others} == {"simulator"}


def test_with_a_key_there_is_no_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the children read the key and the address from the environment that they inherit."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    made = plan()
    assert not made.simulated
    assert [spec.name for spec in made.services] == ["transcoder", "bridge", "gateway"]
    assert not any("OPENAI_API_KEY" in spec.environment for spec in made.services)


def test_a_named_redis_server_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """And none is started."""
    monkeypatch.setenv("REDIS_URL", "redis://10.0.0.1:6379/3")
    made = plan()
    assert made.server is None
    assert {spec.environment.get("REDIS_URL") for spec in made.services[1:]} == {"redis://10.0.0.1:6379/3"}


def test_our_own_server_stops_last_and_the_gateway_first() -> None:
    """So that nobody loses what he still needs."""
    made = plan()
    assert made.server is not None
    order = {spec.name: spec.stop_order for spec in (made.server, *made.services)}
    assert order["gateway"] < order["transcoder"] == order["bridge"] < order["simulator"] < order["redis"]


def test_several_of_a_kind_are_numbered_and_gateways_have_consecutive_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """From PORT on."""
    monkeypatch.setenv("PORT", "9000")
    made = plan(UpOptions(gateways=2, transcoders=3))
    assert made.urls == ("http://127.0.0.1:9000", "http://127.0.0.1:9001")
    assert [spec.name for spec in made.services] == [
        "simulator",
        "transcoder-1",
        "transcoder-2",
        "transcoder-3",
        "bridge",
        "gateway-1",
        "gateway-2",
    ]
    assert _numbered(["a", "b", "b"]) == ["a", "b-1", "b-2"]


def test_port_0_means_any_free_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway gets a number that we can print."""
    monkeypatch.setenv("PORT", "0")
    made = plan()
    assert made.services[-1].environment["PORT"] != "0"
    assert made.urls == (f"http://127.0.0.1:{made.services[-1].environment['PORT']}",)


def test_each_process_has_a_port_of_its_own_for_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the one that is set on; any free one, or none, is the same for all."""
    monkeypatch.setenv("PARLEY_METRICS_PORT", "9464")
    ports = {spec.name: spec.environment.get("PARLEY_METRICS_PORT") for spec in plan(UpOptions(bridges=2)).services}
    assert ports == {"simulator": None, "transcoder": "9464", "bridge-1": "9465", "bridge-2": "9466", "gateway": "9467"}
    monkeypatch.setenv("PARLEY_METRICS_PORT", "0")
    assert not any("PARLEY_METRICS_PORT" in spec.environment for spec in plan().services)
