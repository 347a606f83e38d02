"""What official SDKs talk to: the whole of Parley in this process, with a tap on the wire, and a model that does as told."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from redis.asyncio import Redis

from runtime.embedded import EmbeddedServer
from simulator.answers import Answer, Echo, Output, Question
from simulator.options import Options
from tests.contract.doors.openai_stage import System, system
from tests.contract.sdks.wire import Tap, tapping

ECHO: tuple[Output, ...] = ()
"""In `Prompted.next`: what the user has said."""


@dataclass
class Prompted:
    """Answers what it was told to, once each; and else with an echo."""

    next: deque[tuple[Output, ...]] = field(default_factory=deque)

    def outputs(self, question: Question) -> tuple[Output, ...]:
        told = self.next.popleft() if self.next else ECHO
        return told or Echo().outputs(question)


@pytest.fixture
def prompted() -> Prompted:
    return Prompted()


@pytest.fixture
async def parley(redis_server: EmbeddedServer, redis: Redis, prompted: Prompted) -> AsyncIterator[System]:
    answer: Answer = prompted
    async with system(redis_server, Options(answer=answer, speed=20.0), gateways=2) as parley:
        yield parley


@pytest.fixture
async def tap(parley: System) -> AsyncIterator[Tap]:
    async with tapping(parley.urls[0], parley.http) as tap:
        yield tap
