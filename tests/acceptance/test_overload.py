"""Too much of everything: who behaves is served, who waits is served in the end, and nobody has to be restarted."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from urllib.parse import urlsplit

import aiohttp
import pytest

from cli.load.doors.classes import NAMES
from cli.load.faults import KINDS
from cli.load.fleet import fleet
from cli.load.report import sentences
from cli.load.run import Plan, Run
from cli.load.witness import Witness, model
from runtime.embedded import EmbeddedServer
from simulator.options import Options
from tests.acceptance.conftest import open_simulator
from tests.acceptance.fleet import Fleet
from tests.acceptance.phone import calling
from tests.media.make_media import make_clip

OFFENDERS = int(os.environ.get("PARLEY_OFFENDERS", "8"))
"""of each kind"""

GROWTH_MB = 10.0 * OFFENDERS
"""What one process may hold for all of them: half a minute of what each says, once as it came and once as it goes on."""

FLOOD_BYTES = 40_000_000


@asynccontextmanager
async def deaf(url: str, number: int) -> AsyncIterator[None]:
    """Asks for long answers, faster than they are played, and reads none of them."""
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}/ws-mobile/deaf-{number}?input_format=pcm16&paced=0") as ws,
    ):
        for _ in range(10):
            await ws.send_str(json.dumps({"type": "audio", "audio": base64.b64encode(bytes(480_000)).decode()}))
        yield


@asynccontextmanager
async def dumb(url: str, number: int) -> AsyncIterator[None]:
    """Begins a request, and leaves it at that."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port)) as line:
        line.setblocking(False)
        head = f"POST /api/process-audio?user_id=dumb-{number} HTTP/1.1\r\nHost: {where.netloc}\r\n"
        head += "Content-Length: 960000\r\n\r\n"
        await asyncio.get_running_loop().sock_sendall(line, head.encode() + bytes(100))
        yield


@asynccontextmanager
async def flooding(url: str, number: int) -> AsyncIterator[None]:
    """Says in a second what takes minutes to be said."""

    async def flood(ws: aiohttp.ClientWebSocketResponse) -> None:
        with suppress(ConnectionError, aiohttp.ClientError):
            for _ in range(FLOOD_BYTES // 48_000):
                await ws.send_bytes(bytes(48_000))

    async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/v1/realtime") as ws:
        task = asyncio.create_task(flood(ws))
        yield
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.timeout(180)
async def test_neighbours_of_clients_that_misbehave_lose_nothing() -> None:
    """Every frame of theirs is counted; and what is held for the others is bounded."""
    witness = Witness()
    async with model(witness, 2.0) as base_url, fleet(base_url, 1) as ships:
        await Run(Plan(clients=NAMES, seconds=3.0, seed=98), ships.urls, witness, ships).go()
        before = ships.memory_mb()
        async with AsyncExitStack() as stack:
            for number in range(OFFENDERS):
                for offender in (deaf, dumb, flooding):
                    await stack.enter_async_context(offender(ships.urls[0], number))
            result = await Run(Plan(clients=NAMES, seconds=5.0, seed=5), ships.urls, witness, ships).go()
            grown = {name: mb - before.get(name, 0.0) for name, mb in ships.memory_mb().items()}
        complaints = list(sentences(result))
        assert not complaints, "\n".join(complaints)
        assert max(grown.values()) < GROWTH_MB, grown
        async with aiohttp.ClientSession() as http, http.get(f"{ships.urls[0]}/readyz") as ready:
            assert ready.status == 200


@pytest.mark.timeout(180)
async def test_a_storm_of_redials_is_weathered() -> None:
    """A gateway dies, and all its clients come to the other one in the same moment."""
    witness = Witness()
    async with model(witness, 2.0) as base_url, fleet(base_url, 2) as ships:
        clients = ("openai",) * 4 * OFFENDERS
        plan = Plan(clients=clients, kinds=(KINDS["gateway kill"],), seconds=7.0, every_s=6.0, pause_s=6.0, seed=3)
        result = await Run(plan, ships.urls, witness, ships).go()
        assert result.faults
        complaints = list(sentences(result))
        assert not complaints, "\n".join(complaints)


async def test_who_comes_when_all_bridges_are_full_is_told_and_served_when_one_has_room() -> None:
    """What was said meanwhile is answered; nobody says it again."""
    clip = make_clip(samples=22_050).data
    with EmbeddedServer() as redis, open_simulator(Options(speed=0, transcription_delay_s=0)) as simulator:
        ships = Fleet(redis.url, simulator.base_url, settings={"PARLEY_MAX_SESSIONS": "2"}, grace_s=1.0)
        try:
            gateway, *_ = ships.start_all("gateway", "transcoder", "realtime_bridge")
            async with AsyncExitStack() as stack:
                served = [await stack.enter_async_context(calling(gateway.url, f"ann-{n}")) for n in range(2)]
                for phone in served:
                    assert (await phone.ask(clip)).audio
                async with calling(gateway.url, "late") as late:
                    await late.send(clip)
                    (told,) = (await late.answer()).errors
                    assert "What you said is kept" in told
                    await served[0].socket.close()
                    answer = await late.answer()
                    assert answer.audio
                    assert answer.errors == []
        finally:
            ships.close()
