from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession


@asynccontextmanager
async def simulator(*arguments: str, **environment: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulator", *arguments, stdout=PIPE, stderr=PIPE, env={**os.environ, **environment}
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def first_line(process: Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 30)).decode()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
async def test_start_and_stop(sig: signal.Signals) -> None:
    """it says where it listens, lets a client in, and ends well when it is told to."""
    async with simulator("--port", "0", "--answer", "tone=440,0.1") as process:
        url = (await first_line(process)).split()[-1]
        async with ClientSession() as http, http.ws_connect(f"{url}?model=m") as ws:
            assert "session.created" in await ws.receive_str(timeout=10)
            process.send_signal(sig)
            assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_busy_port() -> None:
    """a port that is taken is one sentence on stderr and exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with simulator("--port", str(taken.getsockname()[1])) as process:
            _, stderr = await asyncio.wait_for(process.communicate(), 30)
            assert process.returncode == 1
            assert stderr.decode().count("\n") == 1
            assert "cannot listen on 127.0.0.1" in stderr.decode()


async def test_bad_answer() -> None:
    """an option that cannot be followed is one sentence on stderr and exit code 2."""
    async with simulator("--answer", "sing") as process:
        _, stderr = await asyncio.wait_for(process.communicate(), 30)
        assert (process.returncode, stderr.decode().count("\n")) == (2, 1)


async def test_ready(tmp_path: Path) -> None:
    """whoever started it is told when it listens."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(path))
        notified.setblocking(False)
        async with simulator("--port", "0", NOTIFY_SOCKET=str(path)) as process:
            message = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(notified, 256), 30)
            assert message.startswith(b"READY=1")
            assert process.returncode is None
