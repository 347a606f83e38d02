"""No container is one too many: each dies in the middle of conversations, each is restarted, and every frame is counted.

It kills processes of containers, so it has to be root on the machine of the engine.
"""

from __future__ import annotations

import asyncio

import pytest

from cli.load.report import sentences
from tests.compose.check_stack import stack
from tests.compose.containers import SEEDS, How, InTurn, inspected, kill, until_back, watched
from tests.compose.doors import realtime
from tests.compose.stack import Stack

__all__ = ["stack"]

pytestmark = pytest.mark.timeout(900)

PROCESSES = ("gateway", "transcoder", "bridge", "lb", "redis")


@pytest.mark.parametrize("how", SEEDS)
async def test_conversations_outlive_each_container(stack: Stack, how: How) -> None:
    """Of all classes of clients none is left behind, and each is kept what docs/promises.md promises it."""
    async with watched(stack) as witness:
        ours = InTurn(stack, witness, PROCESSES, how)
        result = await ours.go()
        for service, seconds in ours.away_s:
            print(f"{service} {how}: back after {seconds:.1f} s")
        for session in result.sessions:
            figures = session.figures
            print(
                f"{session.client:12} turns {session.turns:3} · sent {figures.sent:5} · up lost {figures.up_lost:3}"
                f" · down due {figures.down_due:5} lost {figures.down_lost:3} again {figures.down_doubled:3}"
                f" · cut off {figures.cut_off} · foreign {figures.foreign}"
            )
        assert len(ours.away_s) == len(ours.victims)
        assert list(sentences(result)) == []
        assert [session.client for session in result.sessions if not session.figures.down_due] == []


async def test_the_model_is_killed_and_the_conversation_goes_on(stack: Stack) -> None:
    """The one in a container, of which there are two: the bridge dials the other, and tells it what was said before."""
    await asyncio.to_thread(stack.compose, "up", "--wait", "--scale", "simulator=2")
    async with realtime(stack, "dan") as call:
        await call.begin(1)
        await call.finish()
        sid = call.sid()
        for container in stack.of("simulator"):
            before = inspected(stack, container)["State"]["Pid"]
            kill(stack, container)
            await call.begin(1)
            await call.finish()
            await asyncio.to_thread(until_back, stack, container, before)
        assert call.sid() == sid
