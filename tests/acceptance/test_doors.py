"""One scenario through every door, each request of it at the gateway whose turn it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from secrets import token_hex

import pytest

from runtime.embedded import EmbeddedServer
from simulator.answers import recording
from simulator.options import Options
from simulator.server import Running
from tests.acceptance.conftest import open_simulator
from tests.acceptance.doors import scenario
from tests.acceptance.doors.caller import SILENCE, Caller
from tests.acceptance.doors.mobile import MobileCaller
from tests.acceptance.doors.openai import OpenAiCaller, OpenAiHttpCaller
from tests.acceptance.doors.round_robin import round_robin
from tests.acceptance.fleet import Fleet
from tests.media.make_media import as_samples

SCENARIO = scenario.read()

DOORS: dict[str, Callable[[str], Caller]] = {
    "mobile, PCM": lambda url: MobileCaller(url, token_hex(8), m4a=False),
    "mobile, M4A": lambda url: MobileCaller(url, token_hex(8), m4a=True),
    "openai, WebSocket": OpenAiCaller,
    "openai, SSE and POST": OpenAiHttpCaller,
}
PUSH_TO_TALK = {"mobile, PCM", "mobile, M4A"}
"""Doors at which silence need not be sent."""


@dataclass(frozen=True)
class Stage:
    gateways: list[str]
    model: Running


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Two gateways, a transcoder and a bridge; the model always says the same, five times as fast as real time."""
    options = Options(answer=recording(SCENARIO.answer), speed=5.0)
    with EmbeddedServer() as redis, open_simulator(options) as model:
        fleet = Fleet(redis.url, model.base_url)
        try:
            gateways = [fleet.start("gateway") for _ in range(2)]
            fleet.start("transcoder")
            fleet.start("realtime_bridge")
            yield Stage([gateway.url for gateway in gateways], model)
        finally:
            fleet.close()


@pytest.mark.parametrize("door", DOORS)
async def test_one_scenario_through_every_door(stage: Stage, door: str) -> None:
    """The same transcript, and the same sound both ways, whatever the transport, the codec and the rate."""
    async with round_robin(stage.gateways) as url, DOORS[door](url) as caller:
        heard = caller.heard

        def is_complete(spoken: int) -> bool:
            if caller.hears_text:
                return len(heard.answers) >= spoken
            return bool(heard.answers) and ends_with_the_answer(heard.answers[-1].audio, heard.sample_rate, spoken)

        def ends_with_the_answer(audio: bytes, rate: int, spoken: int) -> bool:
            """One that was broken off and the next may run into each other, where there is only sound to go by."""
            size = len(SCENARIO.answer) * rate // scenario.RATE
            total = sum(len(answer.audio) for answer in heard.answers)
            return total >= size * (2 if spoken > 1 else 1) and scenario.is_like(audio[-size:], SCENARIO.answer, rate)

        await scenario.play(SCENARIO, caller, is_complete)
        assert heard.errors == []
        first, last = heard.answers[0], heard.answers[-1]
        size = len(SCENARIO.answer) * heard.sample_rate // scenario.RATE
        assert scenario.is_like(first.audio, SCENARIO.answer, heard.sample_rate)
        assert scenario.is_like(last.audio[-size:], SCENARIO.answer, heard.sample_rate)
        if caller.hears_text:
            assert len(heard.answers) == 3
            assert first.text == last.text == f"A recording of 3.000 seconds ({3 * scenario.RATE} samples)."
        pause = b"" if door in PUSH_TO_TALK else SILENCE
        wanted = as_samples(b"".join(speech + pause for speech in SCENARIO.spoken))
        said = as_samples(bytes(stage.model.sessions[-1].recording.appended))[: len(wanted)]
        assert len(said) == pytest.approx(len(wanted), abs=scenario.RATE // 100)
        assert scenario.likeness(said, wanted) >= 0.98
