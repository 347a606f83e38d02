"""`python -m gateway`: how it starts, how it refuses to, and how it stops."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from redis.asyncio import Redis

from cli.token import mint
from runtime.embedded import EmbeddedServer
from runtime.ports import HeldPorts
from streams import keys, up
from streams.connection import text
from streams.keys import SessionKeys

LIMIT_S = 20.0


@asynccontextmanager
async def gateway(**environment: str) -> AsyncIterator[Process]:
    environment = {**os.environ, "PYTHONWARNINGS": "error", **environment}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "gateway", env=environment, stderr=PIPE)
    try:
        async with asyncio.timeout(LIMIT_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_with(process: Process, words: str) -> str:
    """Read its log up to the line that has them."""
    assert process.stderr is not None
    while words not in (line := (await process.stderr.readline()).decode()):
        assert line, f"it ended without saying {words!r}"
    return line


async def address(process: Process) -> str:
    """Wait until it listens; its URL."""
    return (await line_with(process, "listens on")).split()[-1]


async def last_words(process: Process) -> str:
    """What it says before it ends with code 1, which is one sentence."""
    _, errors = await process.communicate()
    assert process.returncode == 1
    lines = errors.decode().splitlines()
    assert "Traceback" not in errors.decode()
    return lines[-1]


async def test_it_tells_who_started_it_that_it_is_ready(redis_server: EmbeddedServer) -> None:
    name = f"\0parley-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name)
        listener.setblocking(False)
        async with gateway(PORT="0", REDIS_URL=redis_server.url, NOTIFY_SOCKET=f"@{name[1:]}"):
            ready = await asyncio.get_running_loop().sock_recv(listener, 1024)
            assert ready.startswith(b"READY=1\n")


async def test_sigterm_tells_the_clients_and_keeps_their_sessions(redis_server: EmbeddedServer, redis: Redis) -> None:
    """One that has spoken, and one that has not. Exit code 0, and nothing left that has no end."""
    async with gateway(PORT="0", REDIS_URL=redis_server.url) as process, aiohttp.ClientSession() as http:
        door = f"{await address(process)}/ws-mobile"
        async with http.ws_connect(f"{door}/ann") as ann, http.ws_connect(f"{door}/bob") as bob:
            await ann.send_str('{"type": "audio", "audio": "AAAA"}')
            for client in (ann, bob):
                await client.send_str('{"type": "ping"}')
                assert (await client.receive()).data == '{"type":"pong"}'
            sid = text(await redis.get(keys.at("ann", "ann")) or b"")
            process.send_signal(signal.SIGTERM)
            for client in (ann, bob):
                message = await client.receive()
                assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1012)
                assert message.extra == "This server restarts. Please connect again."
        assert await process.wait() == 0
    entries = [up.decoder.decode(fields) for _, fields in await redis.xrange(SessionKeys(sid).up)]  # type: ignore[union-attr, arg-type]
    assert isinstance(entries[-1], up.File)
    assert await redis.get(keys.at("ann", "ann")) is not None  # it waits for its client
    assert not await redis.exists(SessionKeys(sid).attach)
    assert await redis.get(keys.at("bob", "bob")) is None


async def test_a_busy_port_is_said_in_one_sentence(redis_server: EmbeddedServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        async with gateway(PORT=str(port), REDIS_URL=redis_server.url) as process:
            words = await last_words(process)
    assert words.startswith(f"gateway: 127.0.0.1:{port} is in use by another program.")
    assert "PORT=" in words


async def test_an_address_of_another_machine_is_said_in_one_sentence(redis_server: EmbeddedServer) -> None:
    async with gateway(PORT="0", HOST="192.0.2.1", REDIS_URL=redis_server.url, PARLEY_AUTH="off") as process:
        assert "cannot listen on 192.0.2.1:0" in await last_words(process)


async def test_without_redis_it_says_what_to_do() -> None:
    with HeldPorts() as ports:
        address = f"redis://127.0.0.1:{ports.take()}/0"
        async with gateway(PORT="0", REDIS_URL=address) as process:
            assert "no Redis answers at" in await last_words(process)


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "70000"), ("PARLEY_MAX_FILE_BYTES", "0"), ("PARLEY_SEND_TIMEOUT_S", "x")]
)
async def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    async with gateway(**{name: value}) as process:
        assert (await last_words(process)).startswith(f"gateway: {name} is not usable")


async def test_letting_everybody_in_is_said_aloud(redis_server: EmbeddedServer) -> None:
    async with gateway(PORT="0", HOST="0.0.0.0", REDIS_URL=redis_server.url, PARLEY_AUTH="off") as process:
        assert "WARNING" in await line_with(process, "PARLEY_AUTH IS OFF")


async def test_letting_everybody_in_by_accident_is_refused(redis_server: EmbeddedServer) -> None:
    async with gateway(PORT="0", HOST="0.0.0.0", REDIS_URL=redis_server.url) as process:
        assert (await last_words(process)).startswith("gateway: HOST is 0.0.0.0, which others can reach")


async def test_no_token_is_in_the_log(redis_server: EmbeddedServer) -> None:
    """Not when it is refused, nor when a client offers it where nothing else is offered, nor when something fails."""
    secret = "s" * 32
    shown = mint(secret, "ann", "d", 0.0, 1.0)
    async with gateway(
        PORT="0", REDIS_URL=redis_server.url, JWT_SECRET=secret, PARLEY_AUTH="required", LOG_LEVEL="DEBUG"
    ) as process:
        log = await line_with(process, "listens on")
        url = log.split()[-1]
        async with aiohttp.ClientSession() as http:
            for path in ("/ws-mobile/ann", "/v1/realtime"):
                for query, protocols in ((f"?token={shown}", ()), ("", (f"openai-insecure-api-key.{shown}",))):
                    async with http.ws_connect(url + path + query, protocols=protocols) as ws:
                        while (await ws.receive()).type is not aiohttp.WSMsgType.CLOSE:
                            pass
            for path in ("/livez", f"/{'x' * 9000}"):  # the second is no request
                await (await http.get(f"{url}{path}?token={shown}", headers={"Authorization": f"Bearer {shown}"})).read()
        process.send_signal(signal.SIGTERM)
        log += (await process.communicate())[1].decode()
    assert "openai-insecure-api-key.…" in log  # aiohttp does write it
    assert shown not in log
    assert shown.split(".")[1] not in log
