"""Fixtures that every kind of test uses: a real server a worker process, empty before each test."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from runtime.embedded import EmbeddedServer
from streams.connection import connect


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedServer]:
    """One real server for all tests of this worker process."""
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
async def redis(redis_server: EmbeddedServer) -> AsyncIterator[Redis]:
    """A client of an empty server."""
    client = connect(redis_server.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.hookimpl(specname="pytest_terminal_summary")
def tell_of_strace(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, and how to get it."""
    if shutil.which("strace") is None:
        terminalreporter.write_line(
            "Not run: a decoder child watched from outside. There is no strace: apt-get install strace.", yellow=True
        )
