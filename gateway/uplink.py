"""❷ What the client said → `up`, or straight to `pcm`: performs, one after the other, what `gateway.session` decides.

The reader of the client's connection never waits for Redis: it leaves what was said here (`put`) and reads on. A task
performs it in order and waits until each is stored; trouble is told to the client, which may say it again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import assert_never

from gateway.backend import Backend
from gateway.errors import Busy, NotStored, Refused, TooLate
from gateway.session import Append, ClientSession, Effect, HandOut, Left, OpenGen, Recording, Route, Said, Speech
from streams import up
from streams.dispatch import hand_out
from streams.errors import Over, StreamError, StreamFull
from streams.ids import ZERO, EntryId, next_left
from streams.keys import new_sid
from streams.producer import Marked, Producer, open_left
from streams.sessions import Session, now_ms

LEAVE_TIMEOUT_S = 3.0
"""How long Redis may take to be told that the client has left. After that the session ends by itself: its keys run out."""

_COST_BYTES = 256
"""What anything that waits counts for, on top of its audio: many tiny messages are bounded too."""


class Uplink:
    """The way of one connection towards the model. Made in the loop; it lives until `leave`.

    `trouble` is called with what could not be done; `max_waiting_bytes` bounds what was put and is not stored.
    """

    def __init__(
        self,
        backend: Backend,
        session: Session,
        trouble: Callable[[Refused], None],
        log: logging.LoggerAdapter[logging.Logger],
        *,
        state: ClientSession,
        max_waiting_bytes: int,
    ) -> None:
        self._backend, self._session = backend, session
        self._trouble, self._log = trouble, log
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting_bytes = 0
        self._state = state
        self._over = False
        self._queue: asyncio.Queue[Said] = asyncio.Queue()
        self._last_pcm = ZERO
        """the last id that this connection has written to `pcm`"""
        self._producers = self._new_producers()
        self.worker = asyncio.create_task(self._work(), name=f"gateway.uplink {session.sid}")
        """ends with `leave`, or by a fault of ours, which it then raises"""

    def put(self, said: Said) -> None:
        """Have it done after all that was put before. Raises Busy when too much waits already."""
        if self._waiting_bytes and self._waiting_bytes + _cost(said) > self._max_waiting_bytes:
            raise Busy
        self._waiting_bytes += _cost(said)
        self._queue.put_nowait(said)

    def is_over(self) -> None:
        """The session has ended by itself: there is nothing more to say."""
        self._over = True

    @property
    def is_known(self) -> bool:
        """Whether a worker has been told of the session: then it outlives this connection."""
        return self._state.is_known

    async def leave(self) -> bool:
        """Do all that was put, within LEAVE_TIMEOUT_S. Whether the session has nothing to wait for: nothing was said."""
        self._queue.put_nowait(Left())
        try:
            done, _ = await asyncio.wait([self.worker], timeout=LEAVE_TIMEOUT_S)
        finally:
            self.worker.cancel()
        if done:
            self.worker.result()
        else:
            await asyncio.wait([self.worker])
            self._log.warning("what was said last could not be stored in %g s", LEAVE_TIMEOUT_S)
        return not (self._over or self.is_known)

    async def _work(self) -> None:
        said: Said | None = None
        while not isinstance(said, Left):
            said = await self._queue.get()
            if not self._over:
                await self._do(said)
            self._waiting_bytes -= _cost(said)

    async def _do(self, said: Said) -> None:
        plan = self._state.plan(said)
        try:
            await self._perform(plan)
        except Over:
            if not isinstance(said, Left):
                self._trouble(TooLate())
        except StreamFull:
            self._begin_again(plan)
            self._trouble(Busy())
        except StreamError as error:
            self._begin_again(plan)
            self._log.warning("what the client said could not be stored: %s", error)
            self._trouble(NotStored())

    async def _perform(self, plan: list[Effect]) -> None:
        """Do it all and wait until it is stored. Raises StreamError."""
        stored: list[tuple[Route, asyncio.Future[EntryId]]] = []
        for effect in plan:
            match effect:
                case Append(stream, message):
                    stored.append((stream, self._producers[stream].append(message)))
                case HandOut(role):
                    await hand_out(self._backend.redis, self._session, role)
                case OpenGen():
                    await self._open_gen()
                case _:
                    assert_never(effect)
            self._state.performed(effect)
        ids = await asyncio.gather(*(future for _, future in stored))
        for (stream, _), entry_id in zip(stored, ids, strict=True):
            if stream == "pcm":
                self._last_pcm = max(self._last_pcm, entry_id)

    async def _open_gen(self) -> None:
        last = await self._backend.sessions.last_id(self._session, "pcm")
        above_pcm = next_left(max(self._last_pcm, last or ZERO), now_ms())
        await open_left(self._backend.writer, self._session.keys.up, up.GenOpened(source="files"), above_pcm)

    def _begin_again(self, plan: list[Effect]) -> None:
        """A producer that has failed stays failed, and its marks are spent: the next words get new ones."""
        self._state.failed(plan)
        self._producers = self._new_producers()

    def _new_producers(self) -> dict[Route, Producer]:
        mark = new_sid()  # unique, like the connection whose words it marks
        keys, writer = self._session.keys, self._backend.writer
        return {"up": Producer(writer, keys.up, Marked(mark)), "pcm": Producer(writer, keys.pcm, Marked(mark))}


def _cost(said: Said) -> int:
    match said:
        case Recording(data=data) | Speech(audio=data):
            return _COST_BYTES + len(data)
        case _:
            return _COST_BYTES
