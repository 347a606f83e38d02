"""A worker process: takes sessions that are handed out, and works on each in a task of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from streams.dispatch import Assignment, Assignments
from streams.errors import StreamUnavailable
from streams.sessions import Session

logger = logging.getLogger(__name__)

STOP_WITHIN_S = 5.0
"""What a session's work may take to end when the process stops."""

TRY_AGAIN_S = 1.0
"""Between tries to take work from a server that does not answer."""


class Work(Protocol):
    """What a worker does for one session."""

    async def run(self) -> None:
        """Work until the session needs it no more."""

    def stop(self, reason: str) -> None:
        """The process stops: end soon, with a word to whoever waits."""


class Workforce:
    """Works on at most `capacity` sessions at a time."""

    def __init__(self, assignments: Assignments, start: Callable[[Session], Work], capacity: int) -> None:
        self._assignments, self._start, self._capacity = assignments, start, capacity
        self._running: dict[asyncio.Task[None], Work] = {}
        self._room = asyncio.Event()
        self._room.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Take sessions until `stop` is set, then end what runs."""
        taking = asyncio.create_task(self._take(), name="take sessions")
        try:
            await stop.wait()
        finally:
            taking.cancel()
            await asyncio.wait([taking])
            await self._end_all()

    async def _take(self) -> None:
        while True:
            await self._room.wait()
            try:
                assignments = await self._assignments.take(self._capacity - len(self._running))
            except StreamUnavailable as error:
                logger.warning("no work can be taken: %s", error)
                await asyncio.sleep(TRY_AGAIN_S)
                continue
            for assignment in assignments:
                self._begin(assignment)

    def _begin(self, assignment: Assignment) -> None:
        work = self._start(assignment.session)
        task = asyncio.create_task(self._work(work, assignment), name=f"session {assignment.session.sid}")
        self._running[task] = work
        task.add_done_callback(self._ended)
        if len(self._running) >= self._capacity:
            self._room.clear()

    async def _work(self, work: Work, assignment: Assignment) -> None:
        try:
            await work.run()
        finally:
            try:
                await self._assignments.done(assignment)
            except StreamUnavailable as error:
                logger.warning("%s stays handed out: %s", assignment.session.sid, error)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task)
        self._room.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s failed", task.get_name(), exc_info=error)

    async def _end_all(self) -> None:
        for work in self._running.values():
            work.stop("service_stopped")
        if not self._running:
            return
        _, late = await asyncio.wait(list(self._running), timeout=STOP_WITHIN_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
