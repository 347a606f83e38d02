"""One client for the length of a run: it stays connected, speaks turn after turn in real time, and waits for each answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

import aiohttp

from cli.load.coding import TALK
from cli.load.doors.door import Door, Over
from cli.load.ledger import Break, Ledger
from cli.load.line import Line

PIECE = 2
"""Frames in one message: 40 ms."""
QUIET_S = 10.0
"""When nothing was heard for so long, nothing comes any more: a takeover takes six seconds."""
GONE_ON_S = 3.0
"""And when the model was asked to go on: it has nothing more to say, and what it said before is on its way."""
TOLD_WITHIN_S = 3.0
"""After a break whoever speaks on is told what is missing; nobody leaves before. A gateway may look for a second whether the
connection before is still there."""
PLAYED_S = 1.0
"""And whoever is told in turn has heard the answer by then, with the silence at its end: the word stands behind it."""
_REDIAL_S = (0.1, 0.4)
_LOST = (ConnectionError, aiohttp.ClientError, TimeoutError)


class Caller:
    def __init__(self, door: Door, line: Line, random: Random, *, interrupts: float = 0.0) -> None:
        """`interrupts`: the part of its turns whose answers it does not let come to their end."""
        self.door, self.line, self._random = door, line, random
        self._interrupts = interrupts
        self.spoken: list[range] = []
        """the frames of each turn"""
        self.interrupted: list[tuple[float, range]] = []
        """when it spoke into the answer to a turn"""
        self.is_connected = asyncio.Event()
        self.turns = 0
        self.over: str | None = None
        """why it does not come back"""
        self._next = 0
        self._leaving = False
        self._news = asyncio.Event()

    @property
    def ledger(self) -> Ledger:
        return self.door.ledger

    def broken(self, cause: str, *, until: float | None = None, is_ahead: bool = False) -> Break:
        """A fault befalls this client now, or as soon as its connection ends: until it is connected again, or until then."""
        ahead = is_ahead and until is None
        self.ledger.breaks.append(Break(cause, self.door.now(), until, loses=until is None, is_ahead=ahead))
        return self.ledger.breaks[-1]

    async def run(self, until: float, pause_s: float) -> None:
        """Speak until then, and hear what is still due."""
        await self.door.open()
        staying = asyncio.create_task(self._stay_connected(), name="stay connected")
        talking = asyncio.create_task(self._talk(until, pause_s), name="talk")
        try:
            await asyncio.wait({staying, talking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._leaving = True
            with suppress(*_LOST):
                if self.over is None and self.is_connected.is_set():
                    await asyncio.wait_for(self.door.leave(), 5)
            for task in (staying, talking):
                task.cancel()
            await asyncio.wait({staying, talking})
            await self.door.hang_up()
            await self.door.close()
        for task in (staying, talking):
            if not task.cancelled():
                task.result()

    async def _stay_connected(self) -> None:
        tries = 0
        while not self._leaving:
            try:
                await self.door.dial()
                tries = 0
                self._back()
                await self.door.listen()
            except Over as over:
                if not self._leaving:
                    self.over = str(over)
                    self.door.trouble(f"over: {over}")
                return
            except _LOST as error:
                tries += 1
                if tries > 3 or not self.ledger.breaks:
                    self.door.trouble(f"dial: {type(error).__name__} {error}")
            finally:
                self.is_connected.clear()
                self.ledger.gone(self.door.now())
                await self.door.hang_up()
            if all(each.end is not None for each in self.ledger.breaks):
                self.ledger.breaks.append(Break("unexpected", self.door.now()))
            await asyncio.sleep(self._random.uniform(*_REDIAL_S))

    def _back(self) -> None:
        for each in self.ledger.breaks:
            if each.end is None:
                each.end = self.door.now()
        self.is_connected.set()

    async def _talk(self, until: float, pause_s: float) -> None:
        await self._connected()
        while self.door.now() < max([until, *((each.end or 0.0) + TOLD_WITHIN_S for each in self.ledger.breaks)]):
            if not await self._turn(10 * self._random.randint(3, 8)):
                await self._be_silent(self._random.uniform(0.5, 1.5) * pause_s)
        while self.ledger.breaks and self.door.is_told_in_turn and self.door.now() < self.door.last_sound + PLAYED_S:
            await self._be_silent(0.1)

    async def _turn(self, frames: int) -> bool:
        """Whether it is interrupted: the next one begins at once."""
        first, self._next = self._next, self._next + frames
        interrupts = self._interrupts > 0 and self._random.random() < self._interrupts
        self.door.begin(first)
        for at in range(first, first + frames, PIECE):
            if self.door.keeps or self.door.goes_on or await self._connected():
                with suppress(*_LOST):
                    await self.door.say(at, min(PIECE, first + frames - at))
            await asyncio.sleep(PIECE * TALK.frame_s)
        await self._connected()
        with suppress(*_LOST):
            await self.door.finish()
        self.turns += 1
        turn = range(first, first + frames)
        self.spoken.append(turn)
        spoken, gone_on = self.door.now(), 0.0
        while not self.ledger.is_answered(turn):
            latest = max(spoken, self.door.last_heard, *(each.end or self.door.now() for each in self.ledger.breaks), 0.0)
            if self.ledger.goes_on(turn):
                gone_on = gone_on or self.door.now()
                if self.door.now() > max(gone_on, self.door.last_heard) + GONE_ON_S:
                    return False
            if self.door.now() > latest + QUIET_S:
                self.ledger.unanswered += any(number in turn for asked in self.ledger.asked for number in asked)
                return False
            if interrupts and self.ledger.heard and self.ledger.heard[-1][1] >= first:
                self.interrupted.append((self.door.now(), turn))
                with suppress(*_LOST):
                    await self.door.interrupt()
                return True
            await self._be_silent(0.1)
        # An utterance may end in the middle of the turn, where frames of it were lost: the rest has an answer too.
        if any(number not in self._asked() for number in turn if number in self.ledger.sent):
            await self._be_silent(1.0)
        return False

    def _asked(self) -> set[int]:
        return {number for asked in self.ledger.asked[-6:] for number in asked}

    async def _connected(self) -> bool:
        await self.is_connected.wait()
        return True

    async def _be_silent(self, seconds: float) -> None:
        for _ in range(max(1, round(seconds / (PIECE * TALK.frame_s)))):
            if self.door.speaks_silence and (self.door.goes_on or self.is_connected.is_set()):
                with suppress(*_LOST):
                    await self.door.be_silent(PIECE)
            await asyncio.sleep(PIECE * TALK.frame_s)
