"""Decoder children: the processes that touch hostile bytes, seen from the worker, which never does.

Codec libraries parse what strangers send. So they run in a few child processes that hold no secrets and no network
(`transcoder.confine`), and the worker passes bytes over a socket pair (`transcoder.wire`). All sessions share the
children. A job goes to the first child that is free, in the order they came; a child does one at a time. A child that
dies, or shows no progress for `hang_s`, is killed and replaced, and its job is tried once more in the new one; if
that dies too, this client is told so, and nobody else notices more than a wait. One that has grown old (`Lifetime`) is
relieved between two jobs by another that is ready by then.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType

from transcoder import wire
from transcoder.child_process import Child, ChildDied
from transcoder.decoded import BYTES_PER_SAMPLE, SAMPLE_RATE, Decoded, SourceInfo
from transcoder.errors import DecoderBusy, DecoderFailed, Empty, MediaError, TooLarge
from transcoder.lifetime import USUAL, Lifetime
from transcoder.limits import MAX_DECODED_S, MAX_FILE_BYTES

__all__ = ["Decoded", "DecoderPool", "SourceInfo"]

logger = logging.getLogger(__name__)

_SHUTTING_DOWN = "the decoder is shutting down; send it again"
_TRIES = 2
_MAX_WAITING_BYTES = 8 * MAX_FILE_BYTES
"""What may wait at once; past it, as past `max_waiting`, a job is refused (DecoderBusy)."""

_RESTART_WAITS_S = (0.1, 0.5, 2.0, 5.0)
"""After the second failure in a row, the third, and so on. A child that dies at work is replaced at once."""


@dataclass(eq=False, slots=True)
class _Job:
    stream: int
    data: bytes = field(repr=False)
    max_seconds: float
    result: asyncio.Future[Decoded]
    tries: int = 0

    def succeed(self, decoded: Decoded) -> None:
        if not self.result.done():  # else the client has gone
            self.result.set_result(decoded)

    def fail(self, error: MediaError) -> None:
        if not self.result.done():
            self.result.set_exception(error)


class DecoderPool:
    """`async with DecoderPool() as pool: decoded = await pool.decode_file(data, max_seconds=…)`.

    Entering waits until all children are ready, and raises DecoderFailed when one does not start. Leaving ends them
    all, and with DecoderFailed what still waits for them.
    """

    def __init__(
        self,
        children: int = 2,
        *,
        hang_s: float = 2.0,
        start_timeout_s: float = 20.0,
        max_waiting: int = 256,
        lifetime: Lifetime = USUAL,
    ) -> None:
        if children < 1:
            raise ValueError(f"a pool has at least one child, not {children}")
        self._size = children
        self._hang_s = hang_s
        self._start_timeout_s = start_timeout_s
        self._max_waiting = max_waiting
        self._lifetime = lifetime
        self._waiting: deque[_Job] = deque()
        self._work = asyncio.Event()
        self._children: dict[int, Child] = {}
        self._heirs: dict[int, asyncio.Task[Child]] = {}
        """who is being started to relieve whom"""
        self._tasks: list[asyncio.Task[None]] = []
        self._streams = 0
        self._open = False
        self.replaced = 0
        """How many children died or hung since the start."""
        self.relieved = 0
        """How many grew old."""

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the children that are alive, as far as is known."""
        return tuple(child.pid for child in self._children.values())

    @property
    def waiting(self) -> int:
        """Jobs that no child has taken yet."""
        return len(self._waiting)

    @property
    def _waiting_bytes(self) -> int:
        return sum(len(job.data) for job in self._waiting)

    async def decode_file(self, data: bytes, *, max_seconds: float) -> Decoded:
        """The whole file as PCM. Raises a MediaError that names what was found; nothing else is raised for any bytes.

        When the caller is cancelled the job is dropped, or, if a child has it already, its result is.
        """
        if not self._open:
            raise RuntimeError("this DecoderPool is not open")
        for task in self._tasks:
            if task.done():
                task.result()  # raises what is wrong with us
        if not data:
            raise Empty
        if len(data) > MAX_FILE_BYTES:
            raise TooLarge(len(data), MAX_FILE_BYTES)
        if len(self._waiting) >= self._max_waiting or self._waiting_bytes + len(data) > _MAX_WAITING_BYTES:
            raise DecoderBusy
        self._streams += 1
        result: asyncio.Future[Decoded] = asyncio.get_running_loop().create_future()
        job = _Job(self._streams, bytes(data), max(0.0, min(max_seconds, MAX_DECODED_S)), result)
        self._waiting.append(job)
        self._work.set()
        try:
            return await result
        finally:
            if job in self._waiting:  # we are cancelled, and nobody has begun it
                self._waiting.remove(job)

    async def __aenter__(self) -> DecoderPool:
        starts = [asyncio.create_task(self._start(slot)) for slot in range(self._size)]
        try:
            await asyncio.wait(starts)
            for start in starts:
                start.result()
        except BaseException:
            for start in starts:
                start.cancel()
            await asyncio.wait(starts)
            await self._end()
            raise
        self._open = True
        self._tasks = [asyncio.create_task(self._serve(slot), name=f"decoder child {slot}") for slot in range(self._size)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._end()
        if faults := [end for end in ended if not isinstance(end, asyncio.CancelledError | None)]:
            raise faults[0]

    async def _end(self) -> None:
        self._fail_waiting(_SHUTTING_DOWN)
        for heir in self._heirs.values():
            heir.cancel()
        heirs = await asyncio.gather(*self._heirs.values(), return_exceptions=True)
        children = [*self._children.values(), *(heir for heir in heirs if isinstance(heir, Child))]
        await asyncio.gather(*(child.kill() for child in children))
        self._children.clear()
        self._heirs.clear()

    async def _serve(self, slot: int) -> None:
        """The life of one place in the pool: whoever sits there does the jobs that come."""
        failures = 0  # since the last job: starts that failed, and children that died before they had one
        while True:
            if slot not in self._children:
                try:
                    await self._start(slot)
                except DecoderFailed as error:
                    logger.error("a decoder child does not start: %s", error)
                    if not self._children:
                        self._fail_waiting("no decoder can be started; send it again later")
                    await self._pause(failures)
                    failures += 1
                    continue
            child = self._children[slot]
            if (job := await self._next_job(slot, child)) is not None:
                failures = 0
                await self._do(slot, child, job)
            elif child.ended:
                await self._bury(slot, child, ChildDied("it ended while it had nothing to do"))
                await self._pause(failures)
                failures += 1
            else:
                await self._relieve(slot, child)

    async def _pause(self, failures: int) -> None:
        if failures:
            await asyncio.sleep(_RESTART_WAITS_S[min(failures, len(_RESTART_WAITS_S)) - 1])

    async def _next_job(self, slot: int, child: Child) -> _Job | None:
        """The job that has waited longest; None when the child ends before there is one, or can be relieved."""
        while not child.ended and not self._has_heir(slot, child):
            if self._waiting:
                return self._waiting.popleft()
            self._work.clear()
            await self._work.wait()
        return None

    def _has_heir(self, slot: int, child: Child) -> bool:
        """Whether somebody is ready to relieve this child. Who is old enough gets an heir."""
        if slot not in self._heirs and self._lifetime.is_over(child.age_s, child.asked):
            self._heirs[slot] = asyncio.create_task(Child.start(self._start_timeout_s), name=f"heir of decoder child {slot}")
            self._heirs[slot].add_done_callback(lambda _: self._work.set())
        return slot in self._heirs and self._heirs[slot].done()

    async def _relieve(self, slot: int, child: Child) -> None:
        try:
            await self._start(slot)
        except DecoderFailed as error:
            logger.warning("decoder child %d stays, for no other can be started: %s", child.pid, error)
            child.spare()
        else:
            self.relieved += 1
            await child.kill()

    async def _do(self, slot: int, child: Child, job: _Job) -> None:
        job.tries += 1
        try:
            answer = await child.ask(wire.DecodeFile(job.stream, job.data, job.max_seconds), self._hang_s)
            decoded = _checked(answer, job.max_seconds)
        except MediaError as error:
            job.fail(error)
        except ChildDied as reason:
            self._try_again(job)
            await self._bury(slot, child, reason)
        except BaseException:  # we are being cancelled, or wrong: nobody may wait for ever
            job.fail(DecoderFailed(_SHUTTING_DOWN))
            raise
        else:
            job.succeed(decoded)

    async def _bury(self, slot: int, child: Child, reason: ChildDied) -> None:
        self.replaced += 1
        trace = await child.kill()
        del self._children[slot]
        last_line = trace.strip().rpartition("\n")[2]
        logger.warning("decoder child %d is replaced: %s (%s)", child.pid, reason, last_line or "it said nothing")

    def _try_again(self, job: _Job) -> None:
        """Before all others, in whatever child is free first."""
        if job.tries < _TRIES and not job.result.done():
            self._waiting.appendleft(job)
            self._work.set()
        else:
            job.fail(DecoderFailed("the decoder failed on this file, twice; it may be damaged: record it again"))

    def _fail_waiting(self, message: str) -> None:
        while self._waiting:
            self._waiting.popleft().fail(DecoderFailed(message))

    async def _start(self, slot: int) -> None:
        heir = self._heirs.pop(slot, None)
        child = await (heir or Child.start(self._start_timeout_s))
        child.when_ended(self._work.set)
        asyncio.get_running_loop().call_later(self._lifetime.seconds, self._work.set)
        self._children[slot] = child


def _checked(message: wire.Message, max_seconds: float) -> Decoded:
    """A child's result, if it is one that a child of ours may give."""
    if not isinstance(message, wire.FileDecoded):
        raise ChildDied(f"it answered with {type(message).__name__}")
    if len(message.pcm) % BYTES_PER_SAMPLE or len(message.pcm) > (max_seconds * SAMPLE_RATE + 2) * BYTES_PER_SAMPLE:
        raise ChildDied(f"it made {len(message.pcm)} bytes of PCM")
    source = SourceInfo(message.container, message.codec, message.sample_rate, message.channels, message.duration_s)
    return Decoded(message.pcm, source, message.lost_packets)
