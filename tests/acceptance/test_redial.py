"""The app's redial ladder over two gateways: nothing lost, little repeated, and nobody hears anybody else."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from random import Random

import aiohttp
import numpy as np
import pytest

from runtime.embedded import EmbeddedServer
from simulator.options import Options
from tests.acceptance.conftest import simulator
from tests.acceptance.fleet import Fleet, fleet
from tests.acceptance.lateness import Lateness
from tests.acceptance.phone import Phone, calling
from tests.acceptance.test_takeover import FRAME, coded

PING_INTERVAL_S = 0.25
SLACK_S = 0.2
"""What was on its way to us when we hung up, and the time the hanging up took. What a busy machine adds is measured."""
LATE_S = 0.3
"""And so much of it counts, at most."""


@pytest.fixture(scope="module")
def redis() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


@pytest.fixture(scope="module")
def ships(redis: EmbeddedServer) -> Iterator[Fleet]:
    # In real time, as a listener hears it.
    with simulator(Options(speed=1.0, delta_ms=100)) as base_url, fleet(redis.url, base_url) as ours:
        yield ours


def numbers(audio: bytes) -> list[int]:
    """The positions that these frames name."""
    return [int(n) for n in np.frombuffer(audio, np.int16).reshape(-1, FRAME)[:, 1]]


async def listen_until(phone: Phone, moment: float, heard: list[tuple[float, int]]) -> bool:
    """Note each frame and when it came; whether the answer is complete before the moment."""
    loop_until = time.monotonic() + moment
    carry = b""
    while (left := loop_until - time.monotonic()) > 0:
        try:
            message = await phone.socket.receive(left)
        except TimeoutError:
            return False
        if message.type is not aiohttp.WSMsgType.TEXT:
            return False
        said = json.loads(message.data)
        if said["type"] == "audio_response":
            carry += base64.b64decode(said["audio"])
            whole = len(carry) - len(carry) % (2 * FRAME)
            heard += [(time.monotonic(), n) for n in numbers(carry[:whole])]
            carry = carry[whole:]
        elif said["type"] == "text_response":
            return True
    return False


def hang_up(phone: Phone) -> None:
    """As a phone does that loses its network: without a word."""
    response = phone.socket._response
    assert response.connection is not None
    assert response.connection.transport is not None
    response.connection.transport.abort()


@pytest.mark.parametrize("seed", range(2))
async def test_a_cut_answer_is_heard_whole(ships: Fleet, redis: EmbeddedServer, seed: int) -> None:
    """Eight seconds of answer, cut at random moments, each redial on the other gateway."""
    random = Random(seed)
    gateways = [member.url for member in ships.of("gateway")]
    frames = coded(7, 400)
    heard: list[tuple[float, int]] = []
    cuts: list[float] = []
    complete = False
    lateness = Lateness((redis.process.pid, *(member.process.pid for member in ships.members)))
    watching = asyncio.create_task(lateness.watch())
    async with asyncio.timeout(40):
        for dial in range(40):
            async with calling(gateways[dial % 2], f"ladder-{seed}", "?input_format=pcm16") as phone:
                if dial == 0:
                    await phone.send(frames.tobytes())
                complete = await listen_until(phone, random.uniform(0.4, 1.6), heard)
                if complete:
                    break
                hang_up(phone)
                cuts.append(time.monotonic())
            await asyncio.sleep(random.uniform(0.0, 0.3))
    watching.cancel()
    assert complete
    assert len(cuts) >= 3
    first: dict[int, float] = {}
    for at, number in heard:
        if number in first:
            cut = max(cut for cut in cuts if cut < at)
            late_s = min(lateness.lost(first[number] - PING_INTERVAL_S, cut), LATE_S)
            assert cut - first[number] <= PING_INTERVAL_S + SLACK_S + late_s, (
                f"frame {number} came again after {cut - first[number]:.2f} s, on a machine that was {late_s:.2f} s late"
            )
        else:
            assert number == len(first) + 1, f"frame {len(first) + 1} is missing"
            first[number] = at
    assert list(first) == list(range(1, 401))


async def test_two_phones_with_one_id_never_hear_each_other(ships: Fleet) -> None:
    """On two gateways, talking at once and again; each hears its own frames only."""
    gateways = [member.url for member in ships.of("gateway")]

    async def talk(n: int) -> None:
        async with calling(gateways[n % 2], "hard-coded", "?input_format=pcm16") as phone:
            await phone.say(type="ping")
            for turn in range(2):
                frames = coded(n, 30 + turn)
                answer = await phone.ask(frames.tobytes())
                back = np.frombuffer(answer.audio, np.int16).reshape(-1, FRAME)
                assert set(back[:, 0]) == {n + 1}
                assert len(back) == 30 + turn

    await asyncio.gather(*(talk(n) for n in range(4)))
