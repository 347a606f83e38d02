"""Processes that die or fall asleep in mid-sentence, two of each running and none restarted: every user is answered once,
and whole.

Each round several phones speak at once through one gateway, in PCM or M4A; at a seeded moment between their first word and
the model's answer the victim is killed, or stopped for ten seconds. A quick run does one round; `make soak` does fifty.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.embedded import EmbeddedServer
from simulator.options import Options
from tests.acceptance.conftest import simulator
from tests.acceptance.fleet import SERVICES, Fleet, Member, Service, fleet
from tests.acceptance.phone import Phone, calling
from tests.media.make_media import Clip, as_samples, correlation, libav_decode, make_clip

ROUNDS = int(os.environ.get("PARLEY_ROUNDS", "1"))
PHONES = 5
FRAME = 480


@pytest.fixture(scope="module")
def ships() -> Iterator[Fleet]:
    # Real models think before they speak: the moments of the faults fall before the answer's first word.
    options = Options(speed=20.0, think_s=0.4)
    with EmbeddedServer() as redis, simulator(options) as base_url, fleet(redis.url, base_url) as ours:
        yield ours


@pytest.fixture(autouse=True)
def _two_of_each(ships: Fleet) -> None:
    ships.complete()


def coded(user: int, frames: int) -> NDArray[np.int16]:
    """PCM in which every 20 ms names its user and its position."""
    pcm = np.zeros((frames, FRAME), np.int16)
    pcm[:, 0] = user + 1
    pcm[:, 1] = np.arange(1, frames + 1)
    pcm[:, 2:] = np.random.default_rng(user).integers(-8_000, 8_000, (frames, FRAME - 2))
    return pcm


@dataclass
class Heard:
    """What one phone heard, over all its connections."""

    answers: list[bytes] = field(default_factory=list)
    """audio between two texts"""
    current: bytes = b""
    errors: list[str] = field(default_factory=list)


async def listen(phone: Phone, heard: Heard) -> None:
    """Until an answer is complete. Raises ConnectionError when the line breaks."""
    while True:
        message = await phone.socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise ConnectionError(message)
        said = json.loads(message.data)
        match said["type"]:
            case "audio_response":
                heard.current += base64.b64decode(said["audio"])
            case "text_response":
                heard.answers.append(heard.current)
                heard.current = b""
                return
            case "error":
                heard.errors.append(said["error"])
            case _:
                pass


async def stored(ships: Fleet, user: str, entries: int) -> str:
    """Wait until what this user said is in Redis; the session's id."""
    async with asyncio.timeout(20):
        while True:
            sid = ships.redis.get(f"parley:at:{user}:{user}")
            if isinstance(sid, bytes):
                k = f"parley:{{{sid.decode()}}}"
                if added(ships, f"{k}:pcm") >= entries or added(ships, f"{k}:up") >= 2:
                    return sid.decode()
            await asyncio.sleep(0.005)


def added(ships: Fleet, stream: str) -> int:
    """Entries that it has ever had: of what is answered it keeps the last one."""
    about: Any = ships.redis.xinfo_stream(stream)
    return int(about["entries-added"])


async def talk(ships: Fleet, gateways: list[str], user: str, query: str, recording: bytes) -> Heard:
    """Say one recording and hear its answer, redialling as the app does (only faster) when the line breaks."""
    heard = Heard()
    said = False
    async with asyncio.timeout(40):
        for url in [*gateways, gateways[-1], gateways[-1]]:
            try:
                async with calling(url, user, query) as phone:
                    if not said:
                        await phone.send(recording)
                        said = True
                    await listen(phone, heard)
                    return heard
            except (ConnectionError, aiohttp.ClientError):
                await asyncio.sleep(0.2)
    raise AssertionError("no answer")


def victim(ships: Fleet, service: Service, gateway: Member, sid: str) -> Member | None:
    match service:
        case "gateway":
            return gateway
        case "realtime_bridge":
            return ships.bridge_of(sid)
        case _:
            return ships.transcoder_of(sid)


async def fault(ships: Fleet, service: Service, gateway: Member, users: list[str], moment: float, *, stop: bool) -> None:
    """Once everybody has spoken, and a moment later: kill whoever has the first user's session."""
    sids = [await stored(ships, user, 2) for user in users]
    await asyncio.sleep(moment)
    dies = victim(ships, service, gateway, sids[0])
    if dies is None:  # not taken yet: any will do
        dies = ships.of(service)[0]
    if not stop:
        dies.send(signal.SIGKILL)
        return
    dies.send(signal.SIGSTOP)
    await asyncio.sleep(10)
    dies.send(signal.SIGCONT)


async def one_round(ships: Fleet, service: Service, seed: int, *, stop: bool) -> None:
    random = Random(seed)
    first, second = ships.of("gateway")[:2]
    urls = [first.url, second.url]
    users = [f"{service}-{'stop' if stop else 'kill'}-{seed}-{n}" for n in range(PHONES)]
    m4a = service == "transcoder"
    clips = [make_clip("speech_jfk", samples=30_000 + 5_000 * n) for n in range(PHONES)]
    frames = [coded(n, 60 + 10 * n) for n in range(PHONES)]

    def recording(n: int) -> tuple[str, bytes]:
        return ("", clips[n].data) if m4a else ("?input_format=pcm16", frames[n].tobytes())

    talks = [asyncio.create_task(talk(ships, urls, users[n], *recording(n))) for n in range(PHONES)]
    moment = random.uniform(0.0, 0.3)
    breaks = asyncio.create_task(fault(ships, service, first, users, moment, stop=stop))
    heard = await asyncio.gather(*talks)
    await breaks
    for n in range(PHONES):
        where = f"{service}, seed {seed}, moment {moment:.3f} s, phone {n}"
        assert heard[n].errors == [], where
        (answer,) = heard[n].answers
        if m4a:
            assert_is(answer, clips[n], where)
        else:
            back = np.frombuffer(answer, np.int16).reshape(-1, FRAME)
            assert list(back[:, 1]) == list(range(1, len(frames[n]) + 1)), where
            assert np.array_equal(back, frames[n]), where


def assert_is(audio: bytes, clip: Clip, where: str) -> None:
    samples = as_samples(audio)
    assert abs(len(samples) - clip.samples_at_24k) <= 1, where
    assert correlation(samples, libav_decode(clip.data)) > 0.99, where


@pytest.mark.timeout(60 + 30 * ROUNDS)
@pytest.mark.parametrize("service", SERVICES)
async def test_killed_in_mid_sentence(ships: Fleet, service: Service) -> None:
    """kill -9: the speech of every phone is answered once and whole."""
    for seed in range(ROUNDS):
        ships.complete()  # in this thread: the processes that a thread has started die with it
        await one_round(ships, service, seed, stop=False)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("service", SERVICES)
async def test_asleep_for_ten_seconds(ships: Fleet, service: Service) -> None:
    """SIGSTOP and SIGCONT: nothing of the zombie's is heard, and it does not spoil what others have done."""
    await one_round(ships, service, 1000, stop=True)
