"""❷ What a client says that speaks to the model live → `pcm` or `up`: each word goes on at once, and waits for no other.

PCM that comes while an append is unanswered is joined to one (`streams.producer`), so the entries grow with the load and not
the delay. Workers are told of the session before anything is appended: whoever finds something in the stream need not tell
them again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from gateway.backend import Backend
from gateway.errors import Busy, ConnectionOver, NotStored, Replaced, Unavailable
from gateway.route import ROLES, stream_of
from gateway.session import Route
from gateway.session_formats import Named, keep
from gateway.source_change import change_source
from gateway.uplink import LEAVE_TIMEOUT_S
from streams import errors, pcm, up
from streams.attach import presence
from streams.dispatch import hand_out
from streams.keys import new_sid
from streams.messages import ClientEvent, End, Message
from streams.producer import Held, Marked, Numbered, Producer, Scheme
from streams.sessions import Session

MAX_EARLY_BYTES = 8 << 20
"""Of what waits for the session to be handed out: one round trip to Redis."""


@dataclass(frozen=True, slots=True)
class FormatChange:
    """What a client names in its session, between two things that it says."""

    input: Named | None
    output: Named | None
    source: str | None
    """what its audio is from here on, if that is something else than before"""


class LiveUplink:
    """One connection's way up. Made in the loop; it lives until `leave`.

    `known`: a worker has been told of the session. `gen`: the client numbers what it says, in this gen and from `first` on.
    `held`: the attachment by which this connection has the session, where another may replace it: what is said here is
    refused once that one has spoken.
    """

    def __init__(
        self,
        backend: Backend,
        session: Session,
        log: logging.LoggerAdapter[logging.Logger],
        *,
        known: bool,
        gen: int | None = None,
        first: int = 1,
        route: Route = "pcm",
        held: str | None = None,
    ) -> None:
        self._backend, self._session, self._log = backend, session, log
        self._route, self._stream = route, stream_of(session, route)
        self._held = held
        self._scheme: Scheme = self._marked() if gen is None else Numbered(gen)
        self._producer = self._new_producer(first)
        self._known = known
        self._early: deque[Message | FormatChange] | None = None if known else deque()
        """what was said before the session was handed out, or while its audio becomes another"""
        self._early_bytes = 0
        self._comes_back = gen is not None
        """what the client has sent may be under way no more, but it has it: the session waits, or runs out"""
        self._said_or_left = asyncio.Event()
        self._left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._over = False
        self._unspoken = False
        self._last_words: str | None = None
        self.on_stored: Callable[[int], None] = lambda number: None
        """called with the number of each message that is stored"""
        self.on_wanted: Callable[[int], None] = lambda number: None
        """called with the number from which a numbering client has to send again"""
        self.on_lost: Callable[[], None] = lambda: None
        """called when something that was stored is gone, and only the client could say it again"""
        self.on_over: Callable[[], None] = lambda: None
        """called when the session turns out to have ended"""
        self.worker = asyncio.create_task(self._work(), name=f"gateway.live_uplink {session.sid}")
        """ends with `leave`, or with the ConnectionOver that this connection ends by"""

    def say(self, message: Message) -> None:
        """Have it stored behind all that was said before.

        Raises Busy when too much waits already, NotStored when it has no hope (`on_wanted` was called, or the end is near).
        """
        if self._early is not None:
            self._early_bytes += _size(message)
            if self._early and self._early_bytes > MAX_EARLY_BYTES:
                self._early_bytes -= _size(message)
                raise Busy
            self._early.append(message)
            self._said_or_left.set()
        elif not self._over and not self._left.done():
            self._append(message)

    def change(self, change: FormatChange) -> None:
        """Have it made between what was said before and what follows."""
        if self._early is None:
            self._early, self._early_bytes = deque(), 0
        self._early.append(change)
        self._said_or_left.set()

    def end(self, reason: str) -> None:
        """The client has said goodbye: the session ends behind all that was said."""
        self._last_words = reason

    @property
    def is_known(self) -> bool:
        """Whether a worker has been told of the session."""
        return self._known

    def is_over(self) -> None:
        """The session has ended by itself: there is nothing more to say."""
        self._over = True

    async def leave(self) -> bool:
        """Store what was said, within LEAVE_TIMEOUT_S.

        Whether the session has nothing to wait for: nothing was said, by a client that does not number or has said goodbye.
        """
        if not self._left.done():
            self._left.set_result(None)
        self._said_or_left.set()
        done, _ = await asyncio.wait([self.worker], timeout=LEAVE_TIMEOUT_S)
        if not done:
            self.worker.cancel()
            await asyncio.wait([self.worker])
            self._log.warning("what was said last could not be stored in %g s", LEAVE_TIMEOUT_S)
        elif (error := self.worker.exception()) is not None and not isinstance(error, ConnectionOver):
            raise error
        return self._unspoken

    def _marked(self) -> Marked:
        return Marked(new_sid()) if self._held is None else Held(self._held, new_sid())

    def _new_producer(self, first: int) -> Producer:
        producer = Producer(
            self._backend.writer, self._stream, self._scheme, first=first, told=lambda *told: self._settled(producer, *told)
        )
        return producer

    async def _work(self) -> None:
        try:
            while True:
                await self._said_or_left.wait()
                self._said_or_left.clear()
                await self._work_off()
                if self._left.done():
                    self._left.result()
                    break
            if self._known and not self._over:
                await self._producer.flush()
                await self._say_goodbye()
        except errors.Over:
            self.on_over()
        except errors.Wanted as wanted:
            self._log.debug("left with a number missing: %s", wanted)  # the client goes on from it when it comes back
        except errors.Replaced:
            if not await self._is_anothers():  # Redis has forgotten whose it is: it is held again when this one comes back
                raise Unavailable from None
            self._log.info("what was said last is not stored: the client has spoken over another connection")
            raise Replaced from None
        except errors.StreamError as error:
            self._log.warning("what the client said could not be stored: %s", error)
            raise Unavailable from error

    async def _work_off(self) -> None:
        """What was said before the session was handed out, and what was to wait for a change."""
        if not self._known and not self._early:
            self._unspoken = not (self._over or (self._comes_back and self._last_words is None))
            return
        if not self._known:
            for role in ROLES[self._route]:
                await hand_out(self._backend.redis, self._session, role)
            self._known = True
        while self._early:
            said = self._early.popleft()
            if isinstance(said, FormatChange):
                await self._make(said)
                continue
            self._early_bytes -= _size(said)
            with suppress(NotStored):  # the client knows, or the end is near
                self._append(said)
        self._early = None

    async def _make(self, change: FormatChange) -> None:
        try:
            await self._producer.flush()
        except errors.Wanted as wanted:  # which changes what is to be made of all that waits here: begin anew
            raise errors.StreamUnavailable(f"{self._stream}: {wanted}") from wanted
        await keep(self._backend.redis, self._session, input=change.input, output=change.output)
        if change.source is None:
            return
        numbers = isinstance(self._scheme, Numbered)
        number = self._producer.next_number if numbers else None
        gen = await change_source(self._backend, self._session, change.source, number)
        self._route, self._stream = "up", stream_of(self._session, "up")
        self._scheme = Numbered(gen) if numbers else self._marked()
        self._producer = self._new_producer(number or 1)

    async def _is_anothers(self) -> bool:
        """Whether the session is another connection's now, as far as that can be known."""
        if self._held is None:
            return True
        try:
            holder = (await presence(self._backend.redis, self._session)).holder
        except errors.StreamUnavailable:
            return False
        return bool(holder) and holder != self._held

    async def _say_goodbye(self) -> None:
        if self._last_words is not None and (self._held is None or not await self._is_anothers()):
            producer = Producer(self._backend.writer, self._stream, self._marked())
            producer.append(End(self._last_words))
            await producer.flush()

    def _append(self, message: Message) -> None:
        producer = self._producer
        try:
            producer.put(message)
        except errors.StreamFull:
            raise Busy from None
        except errors.StreamError as error:
            self._failed(producer, error)
            raise NotStored from None

    def _settled(self, producer: Producer, number: int, error: errors.StreamError | None) -> None:
        if error is None:
            self.on_stored(number)
        else:
            self._failed(producer, error)

    def _failed(self, producer: Producer, error: BaseException) -> None:
        """A producer that has failed stays failed; each of its words says so, and is told so."""
        if producer is not self._producer or self._left.done() or self._over:
            return
        if isinstance(error, errors.Wanted) and isinstance(self._scheme, Numbered):
            wanted = int(error.after) + 1
            self._producer = self._new_producer(wanted)
            self.on_wanted(wanted)
        elif isinstance(error, errors.Wanted):  # more is lost than is kept here: on, and not in silence
            self._scheme = self._marked()
            self._producer = self._new_producer(1)
            self.on_lost()
        elif isinstance(error, errors.Over):
            self._over = True
            self.on_over()
        else:
            self._left.set_exception(error)
            self._said_or_left.set()


def _size(message: Message) -> int:
    match message:
        case pcm.Audio(audio=data) | up.Chunk(data=data) | ClientEvent(body=data):
            return len(bytes(data))
        case _:
            return 0
