"""Clients that number what they say talk while something happens to Redis: what arrives, what comes back, and how late."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from simulator.answers import Echo
from simulator.options import Options
from tests.contract.doors.openai_stage import FRAME_BYTES, NumberedClient, System, coded_frame

LIVE = Options(answer=Echo(live=True), speed=0, record_s=600)
"""Every append comes back at once, as it was."""

FRAME_S = 0.02
LIMIT_S = 20.0
"""So long is waited for what is still to come: then it is lost, and counted."""


@dataclass
class Talk:
    """One client, one frame every 20 ms. It dials again by itself when its line is gone."""

    parley: System
    client: NumberedClient
    base: int = 0
    """its frames are numbered from here: no two clients have the same"""
    sent: int = 0
    redials: int = 0
    silences: list[float] = field(default_factory=list)
    """seconds in which nothing came back"""

    @property
    def frames(self) -> bytes:
        """All that was said."""
        return b"".join(coded_frame(self.base + number) for number in range(self.sent))

    async def run(self, until: asyncio.Event) -> None:
        """Talk until it is set, and until all has come back."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        watching = asyncio.create_task(self._watch())
        try:
            while not until.is_set():
                await self.client.append(coded_frame(self.base + self.sent))
                self.sent += 1
                await asyncio.sleep(max(0.0, begun + self.sent * FRAME_S - loop.time()))
            limit = loop.time() + LIMIT_S
            while not self._all_is_back() and loop.time() < limit:  # noqa: ASYNC110 - the client's own event goes with its line
                await asyncio.sleep(FRAME_S)
        finally:
            await asyncio.sleep(2 * FRAME_S)  # the last silence has ended, too
            watching.cancel()
            await asyncio.wait([watching])

    def _all_is_back(self) -> bool:
        """Each frame: what came twice does not stand for what is still to come."""
        return self.client.acked == self.client.sent and self.lost == 0

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        heard, since = 0, loop.time()
        while True:
            await asyncio.sleep(FRAME_S)
            if len(self.client.heard) > heard:
                heard = len(self.client.heard)
                self.silences.append(loop.time() - since)
                since = loop.time()
            if not self.client.is_connected:
                self.redials += 1
                await self.client.close()
                await self.client.connect(self.redials % len(self.parley.urls))

    @property
    def lost(self) -> int:
        """Frames that were said and did not come back."""
        return self.sent - len(set(self._heard()))

    @property
    def doubled(self) -> int:
        """Frames that came back twice, or out of order."""
        heard = self._heard()
        return sum(after <= before for before, after in itertools.pairwise(heard))

    def _heard(self) -> list[int]:
        audio = self.client.audio
        return [int.from_bytes(audio[at : at + 4], "big") for at in range(0, len(audio), FRAME_BYTES)]

    @property
    def announced(self) -> int:
        """How often it was told of a hole."""
        return sum(reply["type"] == "parley.resync" for reply in self.client.replies)

    def __str__(self) -> str:
        return (
            f"{self.sent} frames said, {self.lost} lost, {self.doubled} doubled, {self.announced} holes announced,"
            f" silent for {max(self.silences, default=0.0):.2f} s at most, {self.redials} redials"
        )


async def talk(
    parley: System, happens: Callable[[], Awaitable[None]], *, clients: int = 2, before_s: float = 0.5, after_s: float = 1.0
) -> list[Talk]:
    """Some talk, it happens, they go on talking. All of them have heard everything when this returns."""
    over = asyncio.Event()
    talks = [Talk(parley, NumberedClient(parley), base=number * 1_000_000) for number in range(clients)]
    for each in talks:
        await each.client.connect(0)
    async with asyncio.TaskGroup() as group:
        for each in talks:
            group.create_task(each.run(over))
        await asyncio.sleep(before_s)
        await happens()
        await asyncio.sleep(after_s)
        over.set()
    for each in talks:
        print(each)
        await each.client.close()
    return talks


def arrived(parley: System) -> list[bytes]:
    """What reached the model, a session each; of one that was bridged anew what came to all of its sockets, in order."""
    return [bytes(session.recording.appended) for session in parley.simulator.sessions]
