"""One scenario through every door, each request of it at the gateway whose turn it is."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from runtime.embedded import EmbeddedServer
from simulator.answers import recording
from simulator.options import Options
from simulator.server import Running
from tests.acceptance.conftest import open_simulator
from tests.acceptance.doors import scenario
from tests.acceptance.doors.caller import SILENCE
from tests.acceptance.doors.callers import DOORS, PUSH_TO_TALK
from tests.acceptance.doors.ios import IosCaller
from tests.acceptance.doors.round_robin import round_robin
from tests.acceptance.fleet import Fleet
from tests.media.make_media import as_samples

SCENARIO = scenario.read()


@dataclass(frozen=True)
class Stage:
    gateways: list[str]
    model: Running
    recordings: Path


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Two gateways, a transcoder and a bridge; the model always says the same, five times as fast as real time."""
    options = Options(answer=recording(SCENARIO.answer), speed=5.0)
    with EmbeddedServer() as redis, open_simulator(options) as model:
        fleet = Fleet(redis.url, model.base_url)
        try:
            *gateways, _, _ = fleet.start_all("gateway", "gateway", "transcoder", "realtime_bridge")
            yield Stage([gateway.url for gateway in gateways], model, fleet.recordings)
        finally:
            fleet.close()


@pytest.mark.parametrize("door", DOORS)
async def test_one_scenario_through_every_door(stage: Stage, door: str) -> None:
    """The same transcript, and the same sound both ways, whatever the transport, the codec and the rate."""
    async with round_robin(stage.gateways) as url, DOORS[door](url) as caller:
        heard = caller.heard
        wanted = SCENARIO.answer if caller.hears_text else without_silence_around(SCENARIO.answer)
        size = len(wanted) * heard.sample_rate // scenario.RATE // 2 * 2

        def is_complete(spoken: int) -> bool:
            if caller.hears_text:
                return len(heard.answers) >= spoken
            return bool(heard.answers) and ends_with_the_answer(heard.answers[-1].audio, heard.sample_rate, spoken)

        def ends_with_the_answer(audio: bytes, rate: int, spoken: int) -> bool:
            """One that was broken off and the next may run into each other, where there is only sound to go by."""
            total = sum(len(answer.audio) for answer in heard.answers)
            return total >= size * (2 if spoken > 1 else 1) - rate // 50 and scenario.is_like(audio[-size:], wanted, rate)

        await scenario.play(SCENARIO, caller, is_complete)
        assert heard.errors == []
        first, last = heard.answers[0], heard.answers[-1]
        assert scenario.is_like(first.audio, wanted, heard.sample_rate)
        assert scenario.is_like(last.audio[-size:], wanted, heard.sample_rate)
        if caller.hears_text:
            assert len(heard.answers) == 3
            assert first.text == last.text == f"A recording of 3.000 seconds ({3 * scenario.RATE} samples)."
        pause = b"" if door in PUSH_TO_TALK else SILENCE
        spoken = as_samples(b"".join(speech + pause for speech in SCENARIO.spoken))
        said = as_samples(bytes(stage.model.sessions[-1].recording.appended))[: len(spoken)]
        assert len(said) == pytest.approx(len(spoken), abs=scenario.RATE // 100)
        assert scenario.likeness(said, spoken) >= 0.98
        if isinstance(caller, IosCaller):
            await holds(stage.recordings, caller)


async def holds(folder: Path, caller: IosCaller) -> None:
    """The one recording of its session is, to the sample, what was uploaded, though each chunk came to another gateway."""
    async with asyncio.timeout(20):
        while recordings_of(folder, caller.sid) != [(caller.heard.sample_rate, caller.uploaded)]:
            assert len(files_of(folder, caller.sid)) <= 1
            await asyncio.sleep(0.05)


def files_of(folder: Path, sid: str) -> list[Path]:
    return list(folder.glob(f"ios_*_{sid[:8]}_*.wav"))


def recordings_of(folder: Path, sid: str) -> list[tuple[int, bytes]]:
    """Rate and samples of each."""
    recorded = []
    for path in files_of(folder, sid):
        if not path.read_bytes().startswith(b"RIFF"):
            continue  # it has just been begun, and its head is written last
        with wave.open(str(path)) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
            recorded.append((file.getframerate(), file.readframes(file.getnframes())))
    return recorded


def without_silence_around(audio: bytes) -> bytes:
    """What of it can be told from the silence between two answers."""
    samples = as_samples(audio)
    sound = np.flatnonzero(samples)
    return bytes(samples[sound[0] : sound[-1] + 1].astype("<i2").tobytes())
