"""A real server of our own."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from redis import Redis

from runtime.embedded import EmbeddedServer, ServerBinary, find_server
from runtime.errors import ServerError


@pytest.fixture(scope="module")
def binary() -> ServerBinary:
    """The one of this machine."""
    return find_server()


def test_it_answers_keeps_what_it_took_and_leaves_nothing(binary: ServerBinary) -> None:
    """It refuses writes when it is full, and keeps no file."""
    with EmbeddedServer(binary=binary) as server:
        with Redis.from_url(server.url) as client:
            assert client.ping()
            policy = client.config_get("maxmemory-policy")
            assert policy == {"maxmemory-policy": "noeviction"}
        process, directory = server.process, server.directory
        assert directory.is_dir()
        assert server.environment == {"REDIS_URL": server.url}
    assert process.poll() is not None
    assert not directory.exists()


def test_it_starts_without_a_wait_of_its_own(binary: ServerBinary) -> None:
    """In tens of milliseconds, but on a machine that does much else; the best of five."""
    times: list[float] = []
    for _ in range(5):
        began = time.perf_counter()
        with EmbeddedServer(binary=binary):
            times.append(time.perf_counter() - began)
    assert min(times) < 1.0


async def test_an_event_loop_goes_on_while_it_starts(binary: ServerBinary) -> None:
    """Two at once do not collide, nor do ten."""
    servers = [EmbeddedServer(binary=binary) for _ in range(10)]
    try:
        await asyncio.gather(*(server.start_async() for server in servers))
        assert len({server.url for server in servers}) == 10
    finally:
        for server in servers:
            server.stop()
    async with EmbeddedServer(binary=binary) as server:
        assert server.process.poll() is None
    server.stop()  # a second time is harmless


def test_a_crash_and_a_start_on_the_same_port_keep_an_append_only_file(binary: ServerBinary) -> None:
    """For tests of what survives."""
    with EmbeddedServer("--appendonly", "yes", "--appendfsync", "always", binary=binary) as server:
        url = server.url
        with Redis.from_url(url) as client:
            client.set("word", "kept")
        server.kill()
        assert server.process.poll() == -signal.SIGKILL
        server.start()
        assert server.url == url
        with Redis.from_url(url, decode_responses=True) as client:
            assert client.get("word") == "kept"


def test_extra_options_reach_the_server(binary: ServerBinary) -> None:
    """DEBUG is off unless asked for."""
    with (
        EmbeddedServer("--enable-debug-command", "local", binary=binary) as server,
        Redis.from_url(server.url) as client,
    ):
        assert client.execute_command("DEBUG", "SLEEP", "0")


def test_an_option_that_the_server_refuses_is_its_own_sentence(binary: ServerBinary) -> None:
    """And no directory stays behind."""
    server = EmbeddedServer("--no-such-option", "yes", binary=binary)
    with pytest.raises(ServerError, match=r"ended with code 1: .*no-such-option"), server:
        pass
    with pytest.raises(ServerError, match="has not been started"):
        _ = server.process


def test_a_port_that_somebody_else_took_is_not_used_twice(binary: ServerBinary, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race between finding a free port and binding it."""
    with EmbeddedServer(binary=binary) as first:
        from runtime import embedded

        ports = [first.port, embedded.free_port()]
        monkeypatch.setattr(embedded, "free_port", lambda: ports.pop(0))
        with EmbeddedServer(binary=binary) as second:
            assert second.port != first.port
            assert not ports


_PARENT = """
import sys, time
from runtime.embedded import EmbeddedServer
with EmbeddedServer() as server:
    print(server.process.pid, server.directory, flush=True)
    time.sleep(60)
"""


async def test_it_dies_when_its_parent_is_killed_hard() -> None:
    """The kernel tells it."""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", _PARENT, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    pid, directory = (await parent.stdout.readline()).decode().split()
    assert _alive(int(pid))
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(10):
        while _alive(int(pid)):  # noqa: ASYNC110 - another process: no event to wait for
            await asyncio.sleep(0.01)
    shutil.rmtree(directory)


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
