"""Append to one stream, in order, until it is stored or finally refused.

A producer is the only one that appends *its* events: a connection's uplink, a bridge's downlink, a transcoder's pieces. What
Redis did not answer is sent again as it was; the append script knows a resend from everything else (see append.lua), so an
entry is stored once however often it is sent.

What was stored a moment ago is kept a moment longer: a server that restarts from its append-only file, or a replica that
takes its place, may have lost the end of it. The script then says what it wants, and is given that again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from streams import codec, keys
from streams.errors import (
    LeaseLost,
    Over,
    ServerFull,
    StreamError,
    StreamFull,
    StreamUnavailable,
    Wanted,
)
from streams.ids import EntryId, next_left
from streams.messages import Message
from streams.pipelines import Command
from streams.schemes import Assigned, Chained, Held, Marked, Numbered, Scheme
from streams.unstored import Unstored
from streams.writer import Writer

__all__ = ["Assigned", "Chained", "Held", "Marked", "Numbered", "Producer", "Scheme", "open_left"]

logger = logging.getLogger(__name__)

RESEND_AFTER_S = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Pauses before what was not answered is sent again; the last one repeats."""

GIVE_UP_AFTER_S = 30.0
"""The whole time for which an entry is offered to a server that does not answer."""

FULL_GIVE_UP_AFTER_S = (10.0, 20.0)
"""The same for a server whose memory is full: some time between these, so that the sessions that end first make room for
the others."""

MAX_WAITING_BYTES = 16 << 20
"""Of entries not yet stored; past it `append` raises StreamFull."""

RETAIN_S = 3.0
RETAIN_BYTES = 256 << 10
"""What was stored is kept until something else is stored so much later, or so much has come on top: more than a server loses
that syncs its file every second, or a replica that is worth its name."""
RETAIN_IDLE_S = 30.0
"""And no longer than this when nothing else is stored."""


Told = Callable[[int, StreamError | None], None]


class Producer:
    """Appends messages to one stream. Made in the loop; needs no closing.

    `lost_and_sent_again` counts the entries that the server had lost.

    `first` is the number of its first event (a numbering client that resumes does not begin at 1). `told` is called with the
    number of each event, in order: with None when it is stored, or with why it is not.
    """

    def __init__(self, writer: Writer, stream: str, scheme: Scheme, *, first: int = 1, told: Told | None = None) -> None:
        self.stream = stream
        self._writer, self._scheme, self._told = writer, scheme, told
        self._marks = keys.marks_of(stream)
        self._next = first
        self._queue: deque[Unstored] = deque()
        self._waiting_bytes = 0
        self._retained: deque[Unstored] = deque()
        self._retained_bytes = 0
        self._release: asyncio.TimerHandle | None = None
        self.lost_and_sent_again = 0
        self._failure: StreamError | None = None
        self._joins_at = time.monotonic() + scheme.alone_for_s
        self._is_offered = False
        """the writer has it, or what it has offered is not answered"""
        self._batch: list[Unstored] = []
        """what is offered, in order"""
        self._pause: asyncio.TimerHandle | None = None
        """until what was not answered is offered again"""
        self._failures, self._since, self._patience_s = 0, 0.0, 0.0
        """of an outage: how often it was tried, since when, and how long at most if the server's memory is full"""
        self._settled: asyncio.Future[None] | None = None
        """somebody waits for nothing to be left"""

    @property
    def waiting_bytes(self) -> int:
        """Bytes of entries that are not stored yet."""
        return self._waiting_bytes

    @property
    def retained_bytes(self) -> int:
        """Bytes of entries that are stored, and kept in case the server loses them."""
        return self._retained_bytes

    @property
    def next_number(self) -> int:
        """The number that the next message gets."""
        return self._next

    def append(self, message: Message, *, since_us: int | None = None) -> asyncio.Future[EntryId]:
        """Queue a message; the future gives the id it is stored under (of a resend: the stream's last id).

        It is stamped with the time (`codec.stamp`). `since_us`: when what it was made of was stamped.

        The future may be dropped: a failure is also raised by the next `append` and by `flush`.
        Raises what ended this producer before (Over, Replaced, Fenced, StreamUnavailable), or StreamFull.
        """
        future: asyncio.Future[EntryId] = asyncio.get_running_loop().create_future()
        self._queue_up(message, since_us).stored.append(future)
        return future

    def put(self, message: Message, *, since_us: int | None = None) -> None:
        """As `append`, where nobody awaits it."""
        self._queue_up(message, since_us)

    def _queue_up(self, message: Message, since_us: int | None) -> Unstored:
        if self._failure is not None:
            raise self._failure
        if self._waiting_bytes > MAX_WAITING_BYTES:
            raise StreamFull(f"{self.stream}: {self._waiting_bytes} bytes wait for Redis")
        number, self._next = self._next, self._next + 1
        waiting = self._queue[-1] if self._queue else None
        may_join = waiting is not None and not waiting.frozen and time.monotonic() >= self._joins_at
        joined = waiting.message.join(message) if waiting is not None and may_join else None
        if waiting is not None and joined is not None:
            self._waiting_bytes -= waiting.size
            waiting.takes(number, joined)
        else:
            stamp = codec.stamp(time.time_ns() // 1000, since_us)
            waiting = Unstored(number, number, message, [*codec.encode(message), *stamp], stamp)
            self._queue.append(waiting)
        self._waiting_bytes += waiting.size
        if not self._is_offered and self._pause is None:
            self._since = asyncio.get_running_loop().time()
            self._offer()
        return waiting

    async def flush(self) -> None:
        """Wait until all that was appended is stored. Raises what ended the producer."""
        while self._queue:
            self._settled = self._settled or asyncio.get_running_loop().create_future()
            await asyncio.wait([self._settled])
        if self._failure is not None:
            raise self._failure

    # ── the writer's pipeline ───────────────────────────────────────────────────────────────────────────────────────

    def _offer(self) -> None:
        if not self._is_offered:
            self._is_offered = True
            self._writer.take(self)

    def offered(self) -> list[Command]:
        """All that waits goes into this pipeline, and is resent as it is from now on."""
        commands = []
        self._batch = list(self._queue)
        for waiting in self._batch:
            waiting.frozen = True
            scheme = self._scheme.arguments(waiting.first, waiting.last)
            commands.append(self._writer.command(self.stream, self._marks, scheme, waiting.fields))
        return commands

    def answered(self, answers: Sequence[Any]) -> None:
        """Settle what was offered in order, up to the first that was not answered."""
        self._is_offered, loop = False, asyncio.get_running_loop()
        batch, self._batch = self._batch, []  # a recording of many megabytes may be among it
        try:
            for waiting, answer in zip(batch, answers, strict=True):
                if isinstance(answer, StreamError):
                    raise answer
                if answer[0] == b"want" and self._go_back(answer[1]):
                    break
                self._settle(waiting, answer)
            self._failures, self._since = 0, loop.time()
        except StreamUnavailable as error:
            self._not_answered(error)
        except StreamError as error:
            self._fail(error)
        if self._queue:
            if self._pause is None:
                self._offer()
        elif self._settled is not None:
            self._settled.set_result(None)
            self._settled = None

    def _not_answered(self, error: StreamUnavailable) -> None:
        """Offer it again in a while, if there is still hope."""
        loop = asyncio.get_running_loop()
        if not self._failures:
            self._patience_s = random.uniform(*FULL_GIVE_UP_AFTER_S)
        patience_s = self._patience_s if isinstance(error, ServerFull) else GIVE_UP_AFTER_S
        if loop.time() - self._since > patience_s:
            self._fail(error)
            return
        pause_s = RESEND_AFTER_S[min(self._failures, len(RESEND_AFTER_S) - 1)]
        self._failures += 1
        # Once an outage: a server that is full answers a thousand streams so, every second.
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        logger.log(level, "%s: %s; sent again until it is stored", self.stream, error)
        self._pause = loop.call_later(pause_s, self._offer_again)

    def _offer_again(self) -> None:
        self._pause = None
        self._offer()

    def _settle(self, waiting: Unstored, answer: list[bytes]) -> None:
        what, where = answer
        if what in (b"ok", b"stored"):
            entry_id = EntryId.parse(where)
            self._scheme.stored(waiting.last)
            self._queue.popleft()
            self._waiting_bytes -= waiting.size
            is_new = not waiting.stored_at  # else the server had lost it, and whoever wants to know knows
            self._retain(waiting)
            for future in waiting.stored:
                if not future.done():
                    future.set_result(entry_id)
            waiting.stored.clear()
            if is_new:
                self._tell(waiting, None)
        elif what == b"over":
            raise Over(self.stream)
        elif what == b"newer":
            raise self._scheme.refusal(self.stream, EntryId.parse(where))
        else:
            raise Wanted(self.stream, where.decode())

    def _go_back(self, where: bytes) -> bool:
        """What the server has lost is offered again, as it was, before all else; False when it is not here any more."""
        last = self._scheme.last_of(where)
        lost = [waiting for waiting in self._retained if last is not None and waiting.last > last]
        if last is None or not lost or lost[0].first != last + 1:
            return False
        self._queue.extendleft(reversed(lost))
        for waiting in lost:
            self._retained.pop()
            self._retained_bytes -= waiting.size
            self._waiting_bytes += waiting.size
        self.lost_and_sent_again += len(lost)
        logger.warning("%s: Redis has lost %d entries that it had stored; they are sent again", self.stream, len(lost))
        return True

    def _retain(self, waiting: Unstored) -> None:
        now = asyncio.get_running_loop().time()
        waiting.stored_at = now
        self._retained.append(waiting)
        self._retained_bytes += waiting.size
        while self._retained_bytes > RETAIN_BYTES:
            self._forget_oldest()
        self._forget_before(now - RETAIN_S)
        if self._release is None and self._retained:
            self._release = asyncio.get_running_loop().call_later(RETAIN_IDLE_S, self._forget_idle)

    def _forget_idle(self) -> None:
        self._release = None
        now = asyncio.get_running_loop().time()
        self._forget_before(now - RETAIN_IDLE_S + RETAIN_S)
        if self._retained:
            self._release = asyncio.get_running_loop().call_later(RETAIN_IDLE_S, self._forget_idle)

    def _forget_before(self, stored_at: float) -> None:
        while self._retained and self._retained[0].stored_at < stored_at:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        self._retained_bytes -= self._retained.popleft().size

    def _fail(self, error: StreamError) -> None:
        self._failure = error
        self._retained.clear()
        self._waiting_bytes = 0
        for waiting in self._queue:
            for future in waiting.stored:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # whoever dropped the future hears of it by the next append or flush
        failed, self._queue = self._queue, deque()
        for waiting in failed:
            self._tell(waiting, error)

    def _tell(self, waiting: Unstored, error: StreamError | None) -> None:
        if self._told is None:
            return
        for number in range(waiting.first, waiting.last + 1):
            try:
                self._told(number, error)
            except Exception:  # what is stored is stored, and the next entries wait for us
                logger.exception("%s: nobody heard that %d was stored", self.stream, number)


async def open_left(
    writer: Writer, stream: str, message: Message, now_ms: int, right: int = 0, lease: tuple[str, str] | None = None
) -> int:
    """Open a new gen or epoch by writing `<left>-<right>`, and give it: above all others, whatever this machine's clock
    says.

    A refusal means that somebody was quicker; then a higher one is tried. After an unanswered try a higher one is taken, so
    that two openers never believe in the same number. Raises Over, or StreamUnavailable when the server stays away.

    `lease`: its key and the value that it must have, else LeaseLost is raised. Whoever comes back after a pause would
    otherwise go above those who came meanwhile, and shut them out.
    """
    key, value = lease or (None, "")
    left, tries = now_ms, 0
    while True:
        scheme = (b"exact", f"{left}-{right}", b"", value)
        try:
            what, where = await writer.append(stream, keys.marks_of(stream), scheme, codec.encode(message), key)
        except StreamUnavailable:
            if tries >= len(RESEND_AFTER_S):
                raise
            await asyncio.sleep(RESEND_AFTER_S[tries])
            left, tries = left + 1, tries + 1
            continue
        if what == b"ok":
            return left
        if what == b"over":
            raise Over(stream)
        if what == b"lost":
            raise LeaseLost(stream)
        left = next_left(EntryId.parse(where), now_ms)
