"""The composed system, as processes of their own, and the model's stand-in where a test can look into it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from runtime.embedded import EmbeddedServer
from simulator.options import Options
from simulator.server import Running, running


@dataclass(frozen=True, slots=True)
class Stack:
    """Where everything is."""

    url: str
    """of the gateway, ws://…"""
    redis_url: str


@contextmanager
def simulator(options: Options) -> Iterator[str]:
    """A simulator in a thread of its own; its base URL."""
    with open_simulator(options) as server:
        yield server.base_url


@contextmanager
def open_simulator(options: Options) -> Iterator[Running]:
    """A simulator in a thread of its own, to be looked into."""
    started: list[Running] = []
    is_up, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with running(options) as server:
            started.append(server)
            is_up.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="simulator")
    thread.start()
    try:
        assert is_up.wait(20)
        yield started[0]
    finally:
        stop.set()
        thread.join()


@contextmanager
def services(redis_url: str, base_url: str) -> Iterator[str]:
    """`parley up` against these; the gateway's URL."""
    environment = {
        **os.environ,
        "REDIS_URL": redis_url,
        "OPENAI_BASE_URL": base_url,
        "OPENAI_API_KEY": "simulator",
        "HOST": "127.0.0.1",
        "PORT": "0",
        "LOG_LEVEL": "INFO",
        "PARLEY_GRACE_S": "3",
    }
    with tempfile.TemporaryDirectory() as directory:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "up", "--no-check"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            cwd=directory,
            start_new_session=True,
        )
        lines: list[str] = []
        url: list[str] = []
        is_up = threading.Event()

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if match := re.search(r"Listening on http(\S+)", line):
                    url.append("ws" + match[1])
                    is_up.set()
            is_up.set()

        reader = threading.Thread(target=read, name="parley up")
        reader.start()
        try:
            assert is_up.wait(30), "".join(lines)
            assert url, "".join(lines)
            yield url[0]
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(20)
            reader.join()
            assert process.stdout is not None
            process.stdout.close()
        assert code == 0, "".join(lines)
        assert not [line for line in lines if "Traceback" in line], "".join(lines)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Everything, once a worker process. The model answers with an echo, ten times as fast as real time."""
    with (
        EmbeddedServer() as redis,
        simulator(Options(speed=10.0)) as base_url,
        services(redis.url, base_url) as url,
    ):
        yield Stack(url, redis.url)
