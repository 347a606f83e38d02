"""Interrupted at random moments: the model is told how much was heard, and the listener hears no more of it.

POINTS: how many interruptions in all (`make soak`: 1,000).
"""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random

import numpy as np
import pytest

from runtime.embedded import EmbeddedServer
from simulator.answers import recording
from simulator.options import Options
from simulator.server import Running
from simulator.session import Session
from tests.acceptance.conftest import open_simulator
from tests.acceptance.fleet import Fleet
from tests.acceptance.lateness import Lateness
from tests.acceptance.listeners import LISTENERS, Listener

POINTS = int(os.environ.get("POINTS", "24"))
CLIENTS = 2 if POINTS > 100 else 1
"""of each door, at once"""

ANSWER_S = 4.0
ANSWER = ((np.random.default_rng(3).standard_normal(int(ANSWER_S * 24_000)) * 3000).astype("<i2") | 1).tobytes()
"""Without a zero, so that it can be told from silence."""

TRUE_MS = {door: 60 if door == "openai, reporting" else 200 for door in LISTENERS}
FLUSHES = ("openai, reporting", "watch", "watch, opus", "mobile, not paced")
"""Those that can take back what they were sent."""
SILENT_MS = {door: 150 if door in FLUSHES else 350 for door in LISTENERS}


MACHINE_STANDS_MS = 30
"""A point during which a process was later than that is taken again, twice at most. Where all are, they are judged by how
late it was."""
PASSED = 5
"""Processes that a point passes."""


@dataclass(frozen=True)
class Stage:
    url: str
    model: Running
    pids: tuple[int, ...]
    """of all that a point passes, but for this process"""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    options = Options(answer=recording(ANSWER), speed=5.0, think_s=0.8)
    with EmbeddedServer() as redis, open_simulator(options) as model:
        fleet = Fleet(redis.url, model.base_url)
        try:
            gateway, *_ = fleet.start_all("gateway", "realtime_bridge", "transcoder")
            pids = (redis.process.pid, *(member.process.pid for member in fleet.members))
            yield Stage(gateway.url, model, pids)
        finally:
            fleet.close()


@dataclass(frozen=True)
class Point:
    """One interruption, in milliseconds."""

    heard: float
    """by the reference player"""
    truncated: float
    silent_after: float
    """from the user's first sound to the last of the answer's"""
    late: float
    """by how much a process was late meanwhile, at worst"""


def cuts(session: Session) -> list[float]:
    """Where answers were cut, in order; nothing was heard of one that was deleted."""
    kinds = ("conversation.item.truncate", "conversation.item.delete")
    events = [event for event in session.recording.client_events if event["type"] in kinds]
    return [float(str(event.get("audio_end_ms", 0))) for event in events]


async def until(done: object, limit_s: float = 20.0) -> None:
    assert callable(done)
    async with asyncio.timeout(limit_s):
        while not done():  # noqa: ASYNC110 - another thread: no event
            await asyncio.sleep(0.005)


async def interrupted(listener: Listener, session: Session, random: Random, lateness: Lateness) -> Point:
    """The answer is heard up to a random moment."""
    player = listener.player
    await asyncio.wait_for(player.began.wait(), 20)
    await asyncio.sleep(random.uniform(0.1, ANSWER_S - 0.8))
    before, at, heard_s = len(cuts(session)), player.now, player.position_s
    listener.speech.clear()
    await listener.interrupt()
    silent_at: float | None = None
    if await listener.wait_for_speech():
        heard_s, silent_at = listener.heard_s, player.now
    await until(lambda: len(cuts(session)) > before)
    if silent_at is None:
        await until(lambda: player.heard_until > at)  # known when the next answer begins
        silent_at = player.heard_until
    late_ms = 1000 * lateness.worst(at - 0.5)
    return Point(1000 * heard_s, cuts(session)[before], 1000 * (silent_at - at), late_ms)


async def session_of(stage: Stage, listener: Listener) -> Session:
    """The model's session of this listener: the one that its first words open."""
    before = len(stage.model.sessions)
    await listener.interrupt()
    await until(lambda: len(stage.model.sessions) > before)
    return stage.model.sessions[-1]


@pytest.mark.timeout(60 + POINTS)
async def test_the_model_is_told_what_was_heard(stage: Stage) -> None:
    """At every door, at random points of its answers, many clients at once. The model refuses nothing that it is told."""
    random, rounds = Random(11), -(-POINTS // len(LISTENERS) // CLIENTS)
    points: dict[str, list[Point]] = {door: [] for door in LISTENERS}
    lateness = Lateness(stage.pids)

    async def talk(door: str, listener: Listener, session: Session) -> None:
        judged = 0
        for n in range(3 * rounds):
            if judged == rounds:
                return
            try:
                point = await interrupted(listener, session, random, lateness)
                points[door].append(point)
                judged += point.late <= MACHINE_STANDS_MS
            except TimeoutError:
                said = [event["type"] for event in session.recording.client_events]
                raise AssertionError(f"{door}, round {n}: {said}, {list(session.recording.refused)}") from None

    sessions: list[Session] = []
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        watching = asyncio.create_task(lateness.watch())
        stack.callback(watching.cancel)
        for n in range(CLIENTS):
            for number, (door, open_listener) in enumerate(LISTENERS.items()):
                listener = await stack.enter_async_context(open_listener(stage.url, f"user-{number}-{n}"))
                sessions.append(await session_of(stage, listener))  # one after the other: whose is whose
                tasks.create_task(talk(door, listener, sessions[-1]))
    for door, every in points.items():
        measured = [point for point in every if point.late <= MACHINE_STANDS_MS] or every
        late = PASSED * (measured is every) * max(point.late for point in measured)
        errors = sorted(abs(point.truncated - point.heard) for point in measured)
        silent = sorted(point.silent_after for point in measured)
        print(
            f"{door}: {len(measured)} points, error median {statistics.median(errors):.0f} max {errors[-1]:.0f} ms,"
            f" silent after median {statistics.median(silent):.0f} max {silent[-1]:.0f} ms,"
            f" late by at most {max(point.late for point in measured):.0f} ms"
        )
        # What passes five processes is late by all of theirs: a few of these delays are not the system's.
        allowed = len(measured) // 50 + 1
        assert sum(error > TRUE_MS[door] + late for error in errors) <= allowed, (door, measured)
        assert sum(ms > SILENT_MS[door] + late for ms in silent) <= allowed, (door, measured)
    for session in sessions:
        # A cancel may cross the end of what it cancels; nothing else may be refused.
        assert not [why for why in session.recording.refused if not why.startswith("response.cancel:")]
