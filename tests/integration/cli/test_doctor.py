"""The doctor against servers that are well, ill, and not there."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from cli import doctor, redis_server
from cli.redis_server import ServerFacts
from cli.settings import CommandSettings
from runtime.embedded import EmbeddedServer
from runtime.ports import HeldPorts
from tests.integration.cli.running import REPOSITORY

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def serving(path: str, handler: Handler) -> AsyncIterator[int]:
    """A server with one route; its port."""
    app = web.Application()
    app.router.add_get(path, handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def model(event: dict[str, object], close: int | None = None) -> Handler:
    """A model's server that says this and, perhaps, closes."""

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == "Bearer sk-test"
        assert request.query["model"]
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json(event)
        if close:
            await socket.close(code=close)
        else:
            await socket.receive()
        return socket

    return handler


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")


async def ask(port: int) -> doctor.Finding:
    """Look at a model on this machine."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")
        return await doctor.upstream(CommandSettings.load())


async def look(handler: Handler) -> doctor.Finding:
    """What the doctor says about such a model's server."""
    async with serving("/v1/realtime", handler) as port:
        return await ask(port)


async def test_a_model_that_opens_a_session_takes_the_key() -> None:
    """`session.created` is what it says first."""
    finding = await look(model({"type": "session.created", "session": {}}))
    assert finding.state == "ok"


async def test_a_wrong_key_is_told_in_band() -> None:
    """An `error`, then close code 3000."""
    error = {"type": "invalid_request_error", "code": "invalid_api_key", "message": "Incorrect API key provided."}
    finding = await look(model({"type": "error", "error": error}, close=3000))
    assert (finding.state, finding.todo) == ("fatal", "Correct OPENAI_API_KEY.")
    assert "Incorrect API key provided." in finding.found


async def test_an_unknown_model_is_not_a_wrong_key() -> None:
    """Close code 4000."""
    finding = await look(model({"type": "error", "error": {"message": "No such model."}}, close=4000))
    assert finding.state == "fatal"
    assert "OPENAI_API_KEY" not in finding.todo


@pytest.mark.parametrize(("status", "words"), [(401, "refuses the key (HTTP 401)"), (404, "answers HTTP 404")])
async def test_a_proxy_refuses_by_http(status: int, words: str) -> None:
    """Before the upgrade."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    assert words in (await look(handler)).found


async def test_a_server_that_says_something_else_is_no_model() -> None:
    """The address is wrong."""
    finding = await look(model({"hello": "world"}))
    assert (finding.state, finding.todo) == ("fatal", "Correct OPENAI_BASE_URL.")


async def test_an_unreachable_host_is_told_from_a_refused_key() -> None:
    """Nobody listens on the port."""
    with HeldPorts() as ports:
        finding = await ask(ports.take())
    assert finding.state == "fatal"
    assert "cannot be reached" in finding.found


async def test_the_gateways_port_is_free_or_ours_or_somebody_elses() -> None:
    """Only the last is fatal."""

    async def health(request: web.Request) -> web.StreamResponse:
        return web.json_response({"status": "healthy", "service": "parley", "version": "0.1.0"})

    async with serving("/health", health) as port:
        assert (await doctor.gateway("127.0.0.1", port)).found == f"Parley answers at http://127.0.0.1:{port} already"
    with HeldPorts() as ports:
        port = ports.take()
        assert (await doctor.gateway("127.0.0.1", port)).found == f"127.0.0.1:{port} is free"
    async with serving("/elsewhere", health) as port:
        finding = await doctor.gateway("127.0.0.1", port)
    assert finding.state == "fatal"
    assert "PORT" in finding.todo


async def test_a_redis_server_that_drops_keys_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that helps."""
    with EmbeddedServer("--maxmemory-policy", "allkeys-lru") as server:
        monkeypatch.setenv("REDIS_URL", server.url)
        finding = await doctor.server(CommandSettings.load())
    assert finding.state == "fatal"
    assert "CONFIG SET maxmemory-policy noeviction" in finding.todo
    finding = await doctor.server(CommandSettings.load())
    assert (finding.state, finding.found) == ("fatal", "no server")


async def test_a_redis_server_that_does_not_tell_is_to_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Managed ones may not say what they do when they are full."""

    async def reticent(_: str) -> ServerFacts:
        return ServerFacts("Redis", "7.2.0", policy="")

    monkeypatch.setenv("REDIS_URL", "redis://somewhere:6379/0")
    monkeypatch.setattr(redis_server, "ask", reticent)
    finding = await doctor.server(CommandSettings.load())
    assert finding.state == "warning"
    assert "provider's settings" in finding.todo


async def test_the_command_prints_one_object_and_says_by_its_exit_code_whether_all_is_well(tmp_path: Path) -> None:
    """On this machine it is."""
    for environment, code in (({"PORT": "0"}, 0), ({"PORT": "0", "OPENAI_BASE_URL": "http://h/v1"}, 1), ({"PORT": "x"}, 1)):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli", "doctor", "--json"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin", **environment},
        )
        out, _ = await process.communicate()
        answer = msgspec.json.decode(out)
        assert (process.returncode, answer["ok"]) == (code, not code), answer
        assert {finding["name"] for finding in answer["findings"]} >= {"python", "packages", "codecs"}


async def test_a_decoder_child_is_started_and_its_walls_are_told() -> None:
    finding = await doctor.decoder()
    assert finding.state == "ok"
    assert "seccomp" in finding.found


async def test_a_decoder_that_does_not_start_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    assert (await doctor.decoder()).state == "fatal"
