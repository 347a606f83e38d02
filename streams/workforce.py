"""A worker process: takes sessions that are handed out, and works on each in a task of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from streams.dispatch import KEEP_EVERY_S, Assignment, Assignments
from streams.errors import StreamUnavailable

logger = logging.getLogger(__name__)

STOP_WITHIN_S = 5.0
"""What a session's work may take to end when the process stops."""

TRY_AGAIN_S = 1.0
"""Between tries to take work from a server that does not answer."""


class Work(Protocol):
    """What a worker does for one session."""

    async def run(self) -> bool:
        """Work on it. Whether the session needs no worker any more; False: somebody else has it, or shall have it."""

    def leave(self) -> None:
        """Somebody else has the session, or shall have it: leave off now, and leave it to them."""

    def retire(self, within_s: float) -> None:
        """The process stops: leave the session to another when that disturbs nobody, at the latest after so long."""

    @property
    def holds(self) -> bool:
        """Whether this worker may go on saying that the session is its own."""

    @property
    def is_busy(self) -> bool:
        """Whether it counts towards what this process can do at a time."""


class Workforce:
    """Works on at most `capacity` sessions at a time. `beat` is called every second or two while Redis answers."""

    def __init__(
        self,
        assignments: Assignments,
        start: Callable[[Assignment], Work],
        capacity: int,
        beat: Callable[[], None] = lambda: None,
        drain_s: float = 0.0,
    ) -> None:
        """`drain_s`: over so long a time sessions are handed over when the process stops."""
        self._assignments, self._start, self._capacity, self._beat = assignments, start, capacity, beat
        self._drain_s = drain_s
        self._running: dict[Assignment, tuple[asyncio.Task[None], Work]] = {}
        self._again: set[Assignment] = set()
        """ours once more while the work that has lost them still ends"""
        self._stopping = False
        self._room = asyncio.Event()
        self._room.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Take sessions until `stop` is set, then end what runs.

        Raises what ended the taking or the keeping by a fault of ours: a process that does only half of it must not go on.
        """
        stopped = asyncio.create_task(stop.wait(), name="stop")
        taking = asyncio.create_task(self._take(), name="take sessions")
        keeping = asyncio.create_task(self._keep(), name="keep sessions")
        try:
            ended, _ = await asyncio.wait([stopped, taking, keeping], return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
            self._stopping = True
            taking.cancel()
            await self._hand_over()  # what is still ours is kept meanwhile
        finally:
            for task in (stopped, taking, keeping):
                task.cancel()
            await asyncio.wait([stopped, taking, keeping])
            await self._end_all()

    @property
    def sessions(self) -> int:
        """That are worked on, also those whose client is away."""
        return len(self._running)

    @property
    def _free(self) -> int:
        """Sessions whose client is away cost next to nothing: they do not keep others out."""
        return self._capacity - sum(work.is_busy for _, work in self._running.values())

    async def _take(self) -> None:
        """Sessions that nobody has yet."""
        while True:
            await self._room.wait()
            if self._free <= 0:
                self._room.clear()
                continue
            try:
                assignments = await self._assignments.take(self._free)
            except StreamUnavailable as error:
                logger.warning("no work can be taken: %s", error)
                await asyncio.sleep(TRY_AGAIN_S)
                continue
            for assignment in assignments:
                self._begin(assignment)

    async def _keep(self) -> None:
        """Say that ours are ours, and take over whose worker does not say so any more."""
        loop = asyncio.get_running_loop()
        keep_at = loop.time() + KEEP_EVERY_S
        look_again_s = KEEP_EVERY_S
        while True:
            await asyncio.sleep(min(look_again_s, keep_at - loop.time()))
            if self._free > 0:
                self._room.set()
            look_again_s = KEEP_EVERY_S
            try:
                if loop.time() >= keep_at:
                    keep_at = loop.time() + KEEP_EVERY_S
                    await self._keep_ours()
                    keep_at = max(keep_at, loop.time() + KEEP_EVERY_S / 4)  # a server that is slow gets no more to do
                if self._free > 0 and not self._stopping:
                    look_again_s = await self._take_over()
            except StreamUnavailable as error:
                logger.warning("sessions could not be kept: %s", error)
            else:
                self._beat()

    async def _keep_ours(self) -> None:
        mine = [assignment for assignment, (_, work) in self._running.items() if work.holds]
        self._again.difference_update(mine)  # it had only to wait for the lease
        for lost in await self._assignments.keep(mine):
            if (running := self._running.get(lost)) is not None:  # else it has ended while we asked
                running[1].leave()

    async def _take_over(self) -> float:
        """What has no worker, and give how soon there may be more of it."""
        for orphan in await self._assignments.claim_orphans(self._free):
            logger.warning("a session without a worker is taken over", extra={"sid": orphan.session.sid})
            self._begin(orphan)
        return self._assignments.look_again_s

    def _begin(self, assignment: Assignment) -> None:
        if (running := self._running.get(assignment)) is not None:
            if not running[1].holds:
                self._again.add(assignment)
            return  # else we had it all the time, and were too slow to say so
        work = self._start(assignment)
        task = asyncio.create_task(self._work(work, assignment), name=f"session {assignment.session.sid}")
        self._running[assignment] = (task, work)
        task.add_done_callback(lambda task: self._ended(assignment, task))
        if self._free <= 0:
            self._room.clear()

    async def _work(self, work: Work, assignment: Assignment) -> None:
        is_over = await work.run()
        try:
            if is_over:
                await self._assignments.done(assignment)
            elif self._stopping:
                await self._assignments.let_go(assignment)
        except StreamUnavailable as error:
            logger.warning("%s stays handed out: %s", assignment.session.sid, error)
        if is_over:
            self._again.discard(assignment)

    def _ended(self, assignment: Assignment, task: asyncio.Task[None]) -> None:
        del self._running[assignment]
        self._room.set()
        begins_again = assignment in self._again
        self._again.discard(assignment)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s failed", task.get_name(), exc_info=error)
        if begins_again and not self._stopping:
            self._begin(assignment)

    async def _hand_over(self) -> None:
        """Each session to another worker, when its moment has come."""
        if not self._running or not self._drain_s:
            return
        logger.info("%d sessions are handed over, within %g s", len(self._running), self._drain_s)
        for _, work in self._running.values():
            work.retire(self._drain_s)
        await asyncio.wait([task for task, _ in self._running.values()], timeout=self._drain_s)

    async def _end_all(self) -> None:
        self._stopping = True
        if not self._running:
            return
        tasks = [task for task, _ in self._running.values()]
        for _, work in self._running.values():
            work.leave()
        _, late = await asyncio.wait(tasks, timeout=STOP_WITHIN_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
