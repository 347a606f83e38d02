"""When a client of the harness leaves."""

from __future__ import annotations

import asyncio
from random import Random
from typing import cast

from cli.load.caller import Caller
from cli.load.doors.door import Door
from cli.load.ledger import Break, Ledger
from cli.load.line import Line

ANSWER_S = 0.2
QUIET_S = 0.6
"""The silence at the end of an answer is played, too."""


class ToldInTurn(Door):
    """It hears its answer, and the silence at its end; then the word that stands behind it."""

    speaks_silence, is_told_in_turn = True, True

    async def open(self) -> None:
        self._speaking: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Nothing was opened."""

    async def dial(self) -> None:
        """It is there."""

    async def listen(self) -> None:
        await asyncio.Event().wait()

    async def hang_up(self) -> None:
        if self._speaking is not None:
            self._speaking.cancel()

    async def say(self, first: int, count: int) -> None:
        self.ledger.say(first, count, self.now())

    async def finish(self) -> None:
        self.ledger.asked.append(list(self.ledger.sent))
        self._speaking = asyncio.create_task(self._answer(list(self.ledger.sent)))

    async def _answer(self, frames: list[int]) -> None:
        await asyncio.sleep(ANSWER_S)
        self.ledger.heard += [(self.now(), number) for number in frames]
        self.last_heard = self.now()
        until = self.now() + QUIET_S
        while self.now() < until:
            self.last_sound = self.now()
            await asyncio.sleep(0.02)
        self.announce("About 1.2 s of what you sent were damaged")


async def test_who_is_told_in_turn_hears_the_answer_to_its_end() -> None:
    """Its line has broken long before: what it is told of that stands behind the silence."""
    door = ToldInTurn("127.0.0.1:1", Ledger(1), asyncio.get_running_loop().time)
    now = door.now()
    door.ledger.breaks.append(Break("cut", now - 9.0, now - 8.0))
    await Caller(door, cast("Line", None), Random(1)).run(now + 0.1, 0.0)
    assert len(door.ledger.announced) == 1
