"""One client on one connection: its tasks, what ends them, and the end itself.

Where it takes its session up is in `place.py`, what it is told on the session's control channel in `control.py`, all
connections of the process together in `draining.py`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from gateway.arrivals import Arrivals
from gateway.backend import Backend
from gateway.control import Control
from gateway.downlink import Downlink
from gateway.errors import (
    ClientLeft,
    ConnectionOver,
    DoorError,
    NoRoom,
    NotStored,
    Replaced,
    Restarting,
    SessionEnded,
    SessionFailed,
    SessionGone,
    TooLate,
    Unavailable,
)
from gateway.following import Following
from gateway.goodbye import to_its_end
from gateway.heard_marks import HeardMarks
from gateway.holding import Holding
from gateway.live_uplink import LiveUplink
from gateway.metrics import Metrics
from gateway.naming import Opened
from gateway.outbox import Frame, Outbox
from gateway.output import PacketBefore
from gateway.packet_before import packet_before
from gateway.place import Place
from gateway.playhead import Playhead
from gateway.reaching import Reaching
from gateway.stopping import Stopping
from gateway.uplink import Uplink
from gateway.ways import Way, Wire
from runtime import traces
from runtime.logs import SessionLogger
from streams import down
from streams.attach import presence, say_alive
from streams.coding import ANY, Coding
from streams.errors import Over, StreamUnavailable
from streams.ids import EntryId
from streams.keys import PlayCodec
from streams.play import open_play, rate_of
from streams.sessions import Cursor
from streams.stopping import Played, Stop, read
from streams.waiting import Event

logger = logging.getLogger(__name__)

_PROBE = b"probe:"
"""Begins the payload of a ping that asks for a sign of life on behalf of another gateway."""

ARRIVE_WITHIN_S = 1.0
"""When this process ends: how long it is waited for that what was written has arrived. A redial hears the rest again."""


KEEP_WITHIN_S = 1.0
"""And how long Redis may take to be told of it."""


class Connection:
    """Joins a wire and a session until one of them is over. Made in the loop; `run` must follow.

    `error_frame` says an error in the door's own words.
    """

    def __init__(
        self,
        door: str,
        wire: Wire,
        opened: Opened,
        backend: Backend,
        metrics: Metrics,
        error_frame: Callable[[DoorError], Frame],
        *,
        place: Place,
        max_waiting_bytes: int,
        codec: PlayCodec | None = None,
        way: Way | None = None,
        sender: Callable[[Connection], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        """`codec`: see `Downlink`.

        `sender`: writes what is in the outbox, where it is not to be written at once (`wrote` must follow each frame).
        """
        session = opened.session
        self.door, self.wire, self.session, self.metrics = door, wire, session, metrics
        self.log = SessionLogger(logger, session.sid)
        self.outbox = Outbox()
        self.heard = place.after
        """of `down`: what the door has been given so far, or had before"""
        self.playhead = Playhead(rate_of(codec))
        self._reaching = Reaching(backend, session, self.log)
        self._read_from(Downlink(backend, session, after=place.after, codec=codec), codec)
        self.stopping = Stopping(backend, session, self.playhead, self.log)
        self.stopping.drop = self.void
        self.on_void: Callable[[str], None] = lambda item: None
        """called with an item of which no more is to be said"""
        if way is None:
            way = self.uplink = Uplink(
                backend, session, self.trouble, self.log, state=place.state, max_waiting_bytes=max_waiting_bytes
            )
        self.way: Way = way
        if isinstance(way, LiveUplink):
            way.on_lost = lambda: self.trouble(NotStored())
        self.attachment = opened.attachment
        self._holding = Holding(self)
        self.backend = backend
        self._marks: HeardMarks | None = None
        if backend.records:
            self._marks = HeardMarks(backend, session, self.playhead, self.log, opened.attachment.value, place)
        self._control = Control()
        self._heeds = Event()
        """the control channel is heard"""
        self.arrivals = Arrivals()
        self._following = Following(self.arrivals, wire.ping, lambda entry: self.keep_cursor("arrived", entry))
        self._restarts: Restarting | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._is_spoken_to = False
        self._sessions = backend.sessions
        self._sender = sender or Connection._send
        wire.on_pong = self._pong
        self.on_told: Callable[[str], None] = lambda event: None
        """called with what another gateway wants this client to be told"""
        self._error_frame = error_frame
        self._since = time.monotonic()

    def trouble(self, error: DoorError) -> None:
        """Tell the client what went wrong; the connection goes on, unless it reads nothing of what it is told."""
        self.metrics.errors.labels(self.door, error.code).inc()
        try:
            self.outbox.reply(self._error_frame(error))
        except ConnectionOver as over:
            self.over(over)
        if isinstance(error, TooLate):
            self.downlink.look_again()

    async def listen(self, codec: PlayCodec | None, coding: Coding = ANY) -> PacketBefore | None:
        """From here on hear what is said in this codec (None: as it is in `down`): `downlink` is another one then.

        The packet that a decoder which begins here needs first, where it needs one. Raises SessionGone, Unavailable.
        """
        before = None
        try:
            if codec is not None:
                await open_play(self.backend.redis, self.session, codec, coding)
                before = await packet_before(self.backend.redis, self.session, codec, self.heard)
        except Over:
            raise SessionGone from None
        except StreamUnavailable as error:
            raise Unavailable from error
        void = self.downlink.void
        self._read_from(Downlink(self.backend, self.session, after=self.heard, codec=codec), codec)
        self.downlink.void |= void
        self.playhead.rate = rate_of(codec)
        return before

    def _read_from(self, downlink: Downlink, codec: PlayCodec | None) -> None:
        self.downlink = downlink
        downlink.on_wait(self.metrics.down_wait if codec is None else self.metrics.play_wait)
        downlink.on_entry = self._read

    def _read(self, entry: EntryId, message: down.DownMessage) -> None:
        self._begin_to_follow()
        self.playhead.read(entry, message)
        self._reaching.read(entry, message)

    def void(self, item: str) -> None:
        """Nobody wants to hear this item any more: neither what waits of it nor what still comes."""
        self.playhead.drop(item)
        self.downlink.void.add(item)
        self.outbox.void(item)
        self.on_void(item)

    def over(self, why: ConnectionOver) -> None:
        """End the connection now; when it is this process that ends, when it is known what the client has."""
        if not isinstance(why, Restarting):
            self.outbox.fail(why)
        elif self._restarts is None:  # who is told again is on the way out, and is not to be cut off
            self._restarts = why
            self.start(self._depart(why))

    async def _depart(self, why: Restarting) -> None:
        """Say no more, learn what has arrived, and take what the client says until it has heard of our going."""
        self.outbox.hold()
        with suppress(TimeoutError):
            async with asyncio.timeout(ARRIVE_WITHIN_S):
                await self._following.all_has_arrived()
        await self._keep_place()  # before the client hears that it may dial again
        await self.wire.depart(why)
        raise why

    async def run(self, *ways: Coroutine[Any, Any, None]) -> None:
        """Run the door's `ways`, the sender and the keeper together: when one ends, all end, and with them the session.

        A way ends the connection by raising a ConnectionOver.
        """
        self.log.info("a client of the %s door has connected", self.door)
        over = ConnectionOver("Something went wrong here. Please connect again.")
        try:
            over = await self._until_over(ways)
        except asyncio.CancelledError:
            over = ClientLeft()
            raise
        finally:
            await to_its_end(self._end(over))

    async def _until_over(self, ways: tuple[Coroutine[Any, Any, None], ...]) -> ConnectionOver:
        first: BaseException = ClientLeft()
        try:
            async with asyncio.TaskGroup() as self._tasks:
                for way in (*ways, self._speak(), self._obey()):
                    self.start(way)
                if self._marks is not None:
                    self.start(self._marks.run())
                if self._restarts is not None:
                    self.start(self._depart(self._restarts))
                self.way.worker.add_done_callback(lambda worker: self.start(_result(worker)))
                self.backend.keeper.join(self._holding)
        except* ConnectionOver as group:
            first = group.exceptions[0]
        finally:
            self._tasks = None
            self.backend.keeper.leave(self._holding)
        assert isinstance(first, ConnectionOver)
        return first

    def start(self, task: Coroutine[Any, Any, None]) -> None:
        """As one of those that end together, unless they are ending."""
        try:
            if self._tasks is not None:
                self._tasks.create_task(task, name=f"gateway.connection {self.session.sid}")
                return
        except RuntimeError:
            pass
        task.close()

    def _begin_to_follow(self) -> None:
        """Something is said to this client: until then there is nothing to ask, to interrupt or to tell."""
        if not self._is_spoken_to:
            self._is_spoken_to = True
            for task in (self._following.run(), self.stopping.run(), self._reaching.run()):
                self.start(task)

    async def _speak(self) -> None:
        """Nobody is greeted who could not be told of an end yet."""
        await self._heeds.wait()
        await self._sender(self)

    async def _send(self) -> None:
        """The only task that writes to the wire."""
        while True:
            frame = await self.outbox.get()
            await self.wire.write(frame)
            await self.wrote(frame)

    async def wrote(self, frame: Frame, heard_at: float | None = None) -> None:
        """The wire has this frame. `heard_at`: when the last of its entry is heard, if that is known."""
        if frame.entry is not None and self._wrote(frame.entry, len(frame.data), heard_at):
            await self._following.ask()
        self.metrics.messages.labels(self.door, "sent", frame.kind).inc()

    def received(self, entry: EntryId) -> None:
        """The client itself says what has arrived; from now on nothing else counts."""
        self._begin_to_follow()
        self._following.confirmed(entry)

    def played(self, word: Played) -> None:
        """The client itself says how far it has played."""
        self._begin_to_follow()
        self.stopping.played(word)
        self._reaching.played(word)

    def said(self, entry: EntryId) -> None:
        """All that an entry of `down` has to say is in the outbox."""
        if not self.outbox.mark(entry):
            self._wrote(entry)

    def _wrote(self, entry: EntryId, size: int = 0, heard_at: float | None = None) -> bool:
        self.playhead.wrote(entry, asyncio.get_running_loop().time(), heard_at)
        self._reaching.wrote(entry)
        return self._following.wrote(entry, size)

    def _pong(self, payload: bytes) -> None:
        if not self._following.pong(payload) and payload.startswith(_PROBE):
            self._control.answered(payload.removeprefix(_PROBE).decode(errors="replace"))

    async def _obey(self) -> None:
        """Be found by whoever asks whether this client is still there; let go when a newer connection has the session."""
        await self.backend.bus.subscribe(self.session.keys.control, self._control)
        self._control.missed()  # what was said since it was attached
        self._heeds.set()
        while True:
            what, argument = await self._control.next()
            try:
                await self._obey_word(what, argument)
            except StreamUnavailable as error:
                self.log.warning("a word about this connection could not be answered: %s", error)

    async def _obey_word(self, what: str, argument: str) -> None:
        match what:
            case "attached" if argument != self.attachment.value:
                raise Replaced
            case "probe":
                await self.wire.ping(_PROBE + argument.encode())
            case "ended":
                raise SessionEnded(argument)
            case "failed":
                self.trouble(NoRoom())
                self.outbox.finish(SessionFailed(argument))  # when that is told
            case "tell":
                self.on_told(argument)
            case "received":
                self.received(EntryId.parse(argument))
            case "stop" if (stop := read(Stop, argument)) is not None:
                self._begin_to_follow()
                self.stopping.stop(stop)
            case "played" if (played := read(Played, argument)) is not None:
                self.played(played)
            case "answered":
                await say_alive(self.backend.redis, self.session, argument)
            case "missed":
                if not await self.attachment.renew() and (await presence(self.backend.redis, self.session)).attached:
                    raise Replaced
                for item in await self.downlink.look_for_void():  # a word to stop may have been among what was missed
                    self.void(item)
            case _:
                pass

    async def keep_cursor(self, cursor: Cursor, entry: EntryId) -> bool:
        """Keep the client's place in Redis, if it answers. Whether it did."""
        try:
            await self._sessions.set_cursor(self.session, cursor, entry, self.attachment.value)
        except StreamUnavailable as error:
            self.log.warning("what has %s could not be kept: %s", cursor, error)
            return False
        return True

    async def _keep_place(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(KEEP_WITHIN_S):
                await self._following.keep()

    async def _end(self, over: ConnectionOver) -> None:
        if over.fault != "nobody":
            self.metrics.errors.labels(self.door, over.code).inc()
        if isinstance(over, SessionEnded | SessionFailed | SessionGone):
            self.way.is_over()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._leave())
            tasks.create_task(self.wire.close(over))
        lasted, now_ms = time.monotonic() - self._since, time.time() * 1000
        about = {"door": self.door, "code": over.code}
        traces.span(self.session.sid, "connection", now_ms - lasted * 1000, now_ms, about)
        self.log.info("a client of the %s door is gone after %.1f s: %s", self.door, lasted, over.code)

    async def _leave(self) -> None:
        """Store what was said last, then leave the session to its grace time; or end it, when nothing was ever said.

        The control channel is heard until then: whoever dials again finds the session held, not given up, and waits.
        """
        try:
            await self._keep_place()
            unspoken = await self.way.leave()
            if self._marks is not None:
                await self._marks.leave()
            await self._keep_place()  # if Redis did not answer before
            if unspoken and await self._sessions.end_unspoken(self.session, self.attachment.value):
                return
            await self.attachment.detach()
            if not self.way.is_known:
                await self._sessions.run_out(self.session, self.backend.grace_s)
        except StreamUnavailable as error:
            self.log.warning("the session counts as attached for a few seconds more: %s", error)
        finally:
            await self.backend.bus.unsubscribe(self.session.keys.control, self._control)


async def _result(worker: asyncio.Future[None]) -> None:
    """Raises what a worker that has ended was ended by."""
    worker.result()
