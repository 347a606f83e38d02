"""A deploy: every process of every service is replaced while people talk. No session ends, no word is lost or said twice.

RESTARTS: how many times all of them (`make soak`: 20).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from random import Random

import aiohttp
import numpy as np
import pytest

from runtime.embedded import EmbeddedServer
from simulator.answers import tone
from simulator.options import Options
from simulator.server import Running
from tests.acceptance.conftest import open_simulator
from tests.acceptance.fleet import SERVICES, Fleet, Member
from tests.acceptance.phone import calling
from tests.acceptance.test_takeover import FRAME, Heard, coded, listen

RESTARTS = int(os.environ.get("RESTARTS", "1"))
PHONES = 6
DRAIN_S = 2


@pytest.fixture
def drained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEY_DRAIN_S", str(DRAIN_S))


@pytest.fixture
def model() -> Iterator[Running]:
    with open_simulator(Options(speed=10.0, think_s=0.2)) as running:
        yield running


@pytest.fixture
def ships(drained: None, model: Running) -> Iterator[Fleet]:
    with EmbeddedServer() as redis:
        fleet = Fleet(redis.url, model.base_url)
        try:
            fleet.complete()
            yield fleet
        finally:
            fleet.close()


async def ended(member: Member, within_s: float) -> None:
    """Its process ends by itself, and well."""
    member.send(signal.SIGTERM)
    async with asyncio.timeout(within_s):
        while member.is_alive:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
    assert member.process.returncode == 0, "".join(member.lines)[-2000:]


class Talk:
    """One phone that asks again and again, and redials whatever gateway there is when it is sent away."""

    def __init__(self, ships: Fleet, n: int) -> None:
        self._ships, self._n, self._random = ships, n, Random(n)
        self.turns = 0
        self.goodbyes = 0
        self.enough = False

    async def run(self) -> None:
        heard, frames = Heard(), coded(self._n, 40)
        said = False
        while not self.enough:
            url = self._random.choice(self._ships.of("gateway")).url
            try:
                async with calling(url, f"phone-{self._n}", "?input_format=pcm16&paced=0") as phone:
                    while not self.enough:
                        if not said:
                            frames = coded(self._n, self._random.randint(10, 25))
                            await phone.send(frames.tobytes())
                            said = True
                        await listen(phone, heard)
                        self._check(heard, frames)
                        said = False
                        # Sooner the next one would be a slice of the same speech. Who does not read does not answer pings.
                        with suppress(TimeoutError):
                            async with asyncio.timeout(self._random.uniform(1.0, 1.5)):
                                await listen(phone, heard)
            except (ConnectionError, aiohttp.ClientError):
                self.goodbyes += 1
                await asyncio.sleep(0.1)

    def _check(self, heard: Heard, frames: np.ndarray[tuple[int, int], np.dtype[np.int16]]) -> None:
        where = f"phone {self._n}, turn {self.turns}"
        assert heard.errors == [], where
        answer = np.frombuffer(heard.answers[self.turns], np.int16).reshape(-1, FRAME)
        assert list(answer[:, 1]) == list(range(1, len(frames) + 1)), where
        assert np.array_equal(answer, frames), where
        self.turns += 1
        assert len(heard.answers) == self.turns, where


@pytest.mark.timeout(120 + 60 * RESTARTS)
async def test_everything_is_replaced_while_people_talk(ships: Fleet) -> None:
    """One process after the other; each leaves when its successor is there."""
    talks = [Talk(ships, n) for n in range(PHONES)]
    async with asyncio.TaskGroup() as tasks:
        for talk in talks:
            tasks.create_task(talk.run())
        for _ in range(RESTARTS):
            for service in SERVICES:
                for old in ships.of(service):
                    ships.start(service)
                    await ended(old, DRAIN_S + 12)
        before = [talk.turns for talk in talks]
        async with asyncio.timeout(30):
            while any(talk.turns < turns + 2 for talk, turns in zip(talks, before, strict=True)):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        for talk in talks:
            talk.enough = True
    assert all(talk.goodbyes for talk in talks), "each was sent away by a gateway at least once"


async def test_an_answer_is_heard_to_its_end_before_its_session_is_handed_over(drained: None) -> None:
    """The bridge is told to stop in mid-answer: it waits for a quiet moment, and nothing has to be mended."""
    options = Options(answer=tone(440.0, 1.0), speed=3.0, think_s=0.2)
    with EmbeddedServer() as redis, open_simulator(options) as model:
        fleet = Fleet(redis.url, model.base_url)
        try:
            gateway, bridge = fleet.start_all("gateway", "realtime_bridge")
            async with calling(gateway.url, "ann", "?input_format=pcm16&paced=0") as phone:
                await phone.send(coded(1, 20).tobytes())
                while (await phone.hear())["type"] != "audio_response":
                    pass
                fleet.start("realtime_bridge")
                stopping = asyncio.create_task(ended(bridge, DRAIN_S + 12))
                heard = Heard()
                await listen(phone, heard)
                await phone.send(coded(1, 20).tobytes())
                await listen(phone, heard)
                await stopping
                await phone.send(coded(1, 20).tobytes())
                await listen(phone, heard)
                assert heard.errors == []
                assert len(heard.answers) == 3
            assert len(model.sessions) == 2
            first, _ = model.sessions
            assert not [event for event in first.recording.client_events if event["type"] == "response.cancel"]
        finally:
            fleet.close()


async def test_clients_are_sent_away_one_after_the_other(ships: Fleet) -> None:
    """Spread over the time of the drain, and each finds its session at the other gateway."""
    leaving, staying = ships.of("gateway")
    closed: list[float] = []
    loop = asyncio.get_running_loop()

    async def wait_to_be_sent_away(n: int) -> None:
        async with calling(leaving.url, f"waits-{n}") as phone:
            await phone.socket.send_json({"type": "ping"})
            assert (await phone.hear())["type"] == "pong"
            is_there.release()
            message = await phone.socket.receive()
            closed.append(loop.time())
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1012)
        async with calling(staying.url, f"waits-{n}") as phone:
            await phone.socket.send_json({"type": "ping"})
            assert (await phone.hear())["type"] == "pong"

    is_there = asyncio.Semaphore(0)
    waiting = [asyncio.create_task(wait_to_be_sent_away(n)) for n in range(10)]
    for _ in waiting:
        await is_there.acquire()
    await ended(leaving, DRAIN_S + 12)
    await asyncio.gather(*waiting)
    assert max(closed) - min(closed) > DRAIN_S / 2
