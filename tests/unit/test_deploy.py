"""The containers' files name what is there: settings, packages, programs; and everything they take has its version."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gateway.app import KEEP_ALIVE_S, MAX_LINE_BYTES
from gateway.backend import PING_TIMEOUT_S
from gateway.doors.openai_speech import AUDIO_IDLE_S
from gateway.doors.watch import UPLOAD_IDLE_S
from gateway.settings import GatewaySettings
from realtime_bridge.settings import BridgeSettings
from runtime.settings import Settings
from transcoder.settings import TranscoderSettings

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
BALANCER = (ROOT / "deploy" / "haproxy.cfg").read_text()
NGINX = (ROOT / "deploy" / "nginx.conf").read_text()
FOR_CLIENTS = NGINX.partition("127.0.0.1:8404")[0]
WITH_NGINX = (ROOT / "deploy" / "compose.nginx.yml").read_text()

SERVICES: tuple[tuple[str, type[Settings]], ...] = (
    ("gateway", GatewaySettings),
    ("transcoder", TranscoderSettings),
    ("bridge", BridgeSettings),
)
EXACT = re.compile(r"[\w./-]+:\d+\.\d+\.\d+(?:-[\w.-]+)?")


def section(name: str) -> str:
    """A service's lines, or those of what it is made from (`x-…`)."""
    found = re.search(
        rf"^(?:  {name}|{name}: &\w+):?\n((?:    .*\n|  \S.*\n|\n)*?)(?=^  \w+:$|^\S|\Z)", COMPOSE, re.MULTILINE
    )
    assert found, name
    return found[1]


def variables(lines: str) -> set[str]:
    """What these lines set in a container's environment."""
    return set(re.findall(r"^ +([A-Z][A-Z0-9_]+): ", lines, re.MULTILINE))


def substituted() -> dict[str, str]:
    """What compose takes from its own environment, and the default."""
    return dict(re.findall(r"\$\{([A-Z][A-Z0-9_]*):-([^}]*)\}", COMPOSE))


def aliases(settings: type[Settings]) -> set[str]:
    return {str(field.alias) for field in settings.model_fields.values()}


@pytest.mark.parametrize(("service", "settings"), SERVICES, ids=[service for service, _ in SERVICES])
def test_a_service_is_told_all_that_it_reads(service: str, settings: type[Settings]) -> None:
    """And no variable that it does not read."""
    told = variables(section(service)) | variables(section("x-environment"))
    assert told == aliases(settings) | {"OTEL_EXPORTER_OTLP_ENDPOINT"}  # which OpenTelemetry reads


def example() -> dict[str, str]:
    """What `.env` may set."""
    return dict(re.findall(r"^#([A-Z][A-Z0-9_]*)=(.*)$", (ROOT / "deploy" / "env.example").read_text(), re.MULTILINE))


def test_the_example_has_every_variable() -> None:
    """And none that does nothing; with the defaults of the compose file."""
    told = example()
    assert told.keys() == substituted().keys()
    defaults = {name: default for name, default in substituted().items() if default}
    assert {name: told[name] for name in defaults} == defaults


def test_the_example_tells_the_services_defaults() -> None:
    """Where the compose file leaves it to them."""
    left = {name for name, default in substituted().items() if not default} - {"OPENAI_BASE_URL"}
    fields = [field for _, settings in SERVICES for field in settings.model_fields.values()]
    defaults = {str(field.alias): "" if field.default is None else f"{field.default}" for field in fields}
    assert {name: example()[name] for name in left} == {name: defaults[name].removesuffix(".0") for name in left}


def test_every_image_has_its_version() -> None:
    """Ours is built from what is here."""
    images = re.findall(r"^ +image: (\S+)$", COMPOSE + WITH_NGINX, re.MULTILINE)
    theirs = [image for image in images if not image.startswith("parley:")]
    bases = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert len(theirs) == 3
    assert len(bases) == 1
    assert [image for image in theirs + bases if not EXACT.fullmatch(image)] == []
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${PYTHON_IMAGE}"}


def needed(extras: set[str]) -> set[str]:
    """All that is installed for Parley with these extras."""
    found: set[str] = set()
    waiting = [("parley", extras)]
    while waiting:
        name, wanted = waiting.pop()
        for line in requires(name) or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in wanted | {""}):
                package = canonicalize_name(requirement.name)
                if package not in found:
                    found.add(package)
                    waiting.append((package, requirement.extras))
    return found


def locked(name: str) -> dict[str, str]:
    """The packages of a lock, and their versions."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / name).read_text(), re.MULTILINE))


def test_the_image_can_trace_and_has_no_server_of_its_own() -> None:
    """Redis has a container, and `parley up` is not what runs in one."""
    image = set(locked("requirements-image.lock"))
    assert needed({"otel"}) <= image
    assert not image & (needed({"embedded"}) - needed({"otel"}))
    (read,) = re.findall(r"--requirement (\S+)$", DOCKERFILE, re.MULTILINE)
    assert read == "requirements-image.lock"


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-image.lock"])
def test_what_runs_is_what_was_tested(name: str) -> None:
    """The tests run with requirements-dev.lock."""
    tested = locked("requirements-dev.lock")
    assert {package: version for package, version in locked(name).items() if tested.get(package) != version} == {}


def test_the_image_is_built_from_all_packages() -> None:
    """And from nothing else: no .env, no checkout's history, no recordings."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert let_in == {*packages, "pyproject.toml", "requirements-image.lock", "README.md", "LICENSE"}


def test_the_load_balancer_holds_nothing_back_and_nobody_fast() -> None:
    """No session sticks to a gateway; nothing waits for its end; no token is written into a log."""
    rules = re.sub(r"#.*", "", BALANCER)
    assert not re.findall(r"\b(?:cookie|stick|stick-table|source|http-buffer-request|compression|httplog)\b", rules)
    assert not re.findall(r"%HU|%HQ|%r\b|%\{\+Q\}r", rules)
    assert re.search(r"^\s+server-template \S+ \d+ gateway:8000$", rules, re.MULTILINE)


def told(configuration: str, setting: str) -> float:
    """Seconds, or bytes. The least, where it is set more than once."""
    units = {"": 1, "s": 1, "m": 60, "h": 3600, "k": 1024}
    found = re.findall(rf"^\s*{setting}\s+(?:\d+ )?(\d+)([smhk]?)\b", re.sub(r"#.*", "", configuration), re.MULTILINE)
    assert found, setting
    return min(int(number) * units[unit] for number, unit in found)


@pytest.mark.parametrize(
    ("configuration", "settings"),
    [
        (BALANCER, ("timeout client", "timeout server", "timeout tunnel")),
        (
            NGINX.partition("127.0.0.1:8404")[0],
            ("proxy_read_timeout", "proxy_send_timeout", "client_body_timeout", "send_timeout"),
        ),
    ],
    ids=["haproxy", "nginx"],
)
def test_a_load_balancer_waits_longer_than_any_door(configuration: str, settings: tuple[str, ...]) -> None:
    """So that it is the gateway that ends what has fallen silent, and tells the client why."""
    assert min(told(configuration, setting) for setting in settings) >= 2 * max(UPLOAD_IDLE_S, AUDIO_IDLE_S)


def test_a_load_balancer_lets_every_head_through() -> None:
    """And hangs up unused connections before the gateways do, so that no request meets one that is being closed."""
    assert told(BALANCER, "tune.bufsize") > MAX_LINE_BYTES
    assert told(NGINX, "large_client_header_buffers") >= MAX_LINE_BYTES
    assert told(BALANCER, "timeout http-keep-alive") < KEEP_ALIVE_S


def test_a_gateway_has_time_to_say_how_it_is() -> None:
    """As long as it waits for Redis itself. Else HAProxy takes the time between two questions, a second."""
    assert told(BALANCER, "timeout check") > PING_TIMEOUT_S


def test_nginx_holds_nothing_back() -> None:
    """What it does by itself until it is told not to, in no place other than for all."""
    rules = re.sub(r"#.*", "", NGINX)
    for setting in ("proxy_buffering off", "proxy_request_buffering off", "gzip off", "client_max_body_size 0"):
        name, _, value = setting.partition(" ")
        assert re.findall(rf"^ *{name} (\S+);$", rules, re.MULTILINE) == [value]
    assert re.findall(r"^ +proxy_http_version (\S+);$", rules, re.MULTILINE) == ["1.1"]
    assert not re.findall(r"\$(?:request|request_uri|args|query_string)\b", "".join(re.findall(r"log_format[^;]*;", rules)))
    assert re.findall(r"^error_log .*$", rules, re.MULTILINE) == ["error_log stderr crit;"]
