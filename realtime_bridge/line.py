"""One upstream socket, and the conversation on it: the shell that does what its conversation decides.

One task group a socket: pump up (`pcm` → conversation), pump down (the model's events → conversation), the writer of the
socket, and the clock. When one ends, all end, with a reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from realtime_bridge import client_events
from realtime_bridge.accounting import Accounting
from realtime_bridge.control import Control
from realtime_bridge.conversation import Conversation
from realtime_bridge.effects import (
    Break,
    CallTool,
    Effect,
    Finish,
    Forward,
    Reappend,
    Record,
    Redial,
    Say,
    Send,
    SendAudio,
    Stop,
    TellSound,
    Trim,
)
from realtime_bridge.errors import UpstreamUnavailable
from realtime_bridge.ledger import Ledger
from realtime_bridge.memory import sound
from realtime_bridge.metrics import Metrics
from realtime_bridge.outbox import Outbox
from realtime_bridge.playback import Heard
from realtime_bridge.postponed import put_off
from realtime_bridge.slots import Slots
from realtime_bridge.spoken import Position
from realtime_bridge.tool_calls import ToolCaller
from realtime_bridge.turn_clock import TurnClock
from realtime_bridge.upstream import Upstream
from runtime.logs import SessionLogger
from streams import down, pcm, stopping
from streams.consumer import Consumer, read
from streams.dispatch import Lease
from streams.hub import Hub
from streams.ids import ZERO, EntryId, just_before
from streams.sessions import Session, Sessions
from streams.trim import trim

KEPT_ENTRIES = 200
"""Of what has reached the client's machine, at least ten seconds of speech: a client that drops may not have taken from its
own buffers what it was sent last, and says so when it comes back."""

KEPT_OF_AN_ANSWER = 8_000
"""And so many entries, if they are of an answer that is being generated: when it breaks, it is read there what it said."""


class Finished(Exception):
    """The session is over; the client is to be told."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class FreshSocketWanted(Exception):
    """The conversation goes on, but not on this socket."""


class _LookWhatArrived:
    """Time to trim `down` by what the client has, and to see whether it keeps up."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What all lines of a session have in common."""

    hub: Hub
    session: Session
    lease: Lease
    ledger: Ledger
    log: SessionLogger
    accounting: Accounting
    caller: ToolCaller
    """of functions; a call outlives the line on which the model asked for it"""
    user: str
    times: TurnClock
    metrics: Metrics
    sounds: Slots
    """what was said is told as sound by so many sessions at a time, those first in which an answer is due: a minute of it
    takes fifteen megabytes on its way"""


class Line:
    """Made for one socket. `prepare` what can be done while another one still serves, if anything; then `converse`."""

    def __init__(self, shared: Shared, upstream: Upstream, conversation: Conversation) -> None:
        self.upstream, self.conversation = upstream, conversation
        self.noted = 0
        """how much of what was said has been noted since the socket opened"""
        self._shared = shared
        hub, session, log = shared.hub, shared.session, shared.log
        self._hub, self._session, self._log, self._ledger, self._lease = hub, session, log, shared.ledger, shared.lease
        self._metered = shared.accounting.metered(upstream)
        self._outbox: Outbox[str | Reappend | TellSound | Trim | _LookWhatArrived] = Outbox()
        self._ready = asyncio.Event()
        self._armed: float | None = None
        self._rearmed = asyncio.Event()
        self._place = shared.sounds.place()
        """among those that have sound to tell"""
        self._is_prepared = False
        self._is_left = False
        """the next line is prepared: what happens on this one from now on happens there"""
        self._handled = ZERO
        """the entry of `pcm` up to which everything has been handed to the conversation"""
        self._sessions = Sessions(hub.redis)
        self._control = Control(hub, session, self._stopped, log)

    def on(self, upstream: Upstream) -> Line:
        """The same conversation on another socket."""
        line = Line(self._shared, upstream, self.conversation)
        line._handled = self._handled
        return line

    def go_on_from(self, position: Position) -> None:
        """All of `pcm` up to here has been dealt with."""
        self.conversation.go_on_from(position)
        entry, samples = position
        # An entry of which some samples are dealt with is read again.
        self._handled = just_before(entry) if samples else entry

    def quiet_at(self) -> Position | None:
        """From where another line could go on at this moment without anybody noticing; None when somebody would."""
        return self.conversation.quiet_at(_now()) if self._outbox.is_empty else None

    async def prepare(self) -> None:
        """Configure the model and tell it what was said, and return when that is on its way. Raises UpstreamError."""
        self._is_prepared = True
        self._perform(self.conversation.dialled())
        await self._write_what_waits()
        async for received in self.upstream:
            self._metered.heard(received.event)
            self._shared.times.from_model(received.event)
            self._perform(self.conversation.received(received.event, received.raw, _now()))
            if self.conversation.ready:
                break
        await self._write_what_waits()

    async def converse(self) -> None:
        """Everything that happens on the socket. Raises an exception group with why it ended."""
        async with asyncio.TaskGroup() as group:
            if not self._is_prepared:
                self._perform(self.conversation.dialled())
            elif self.conversation.ready:
                self._is_configured()
            for name, pump in (
                ("down", self._pump_down()),
                ("write", self._write()),
                ("up", self._pump_up()),
                ("tools", self._pump_tools()),
                ("clock", self._clock()),
                ("control", self._control.run()),
            ):
                group.create_task(pump, name=f"{name} {self._session.sid}")

    def fall_silent(self) -> None:
        """The next line goes on from here. Until this one is cancelled it may hear more, which would be said twice."""
        self._is_left = True

    def leave(self) -> None:
        """Another socket follows: say and note what is still to be."""
        self._perform(self.conversation.left())

    def finish(self, reason: str) -> None:
        """The session has used all that it may: no more than what is being answered."""
        self._do(self.conversation.finish(reason, _now()))

    @property
    def plays_on_s(self) -> float:
        """For how long its last answer is probably still heard."""
        return self.conversation.plays_on_s(_now())

    async def close(self) -> None:
        """Hear what the last answer has cost, and say goodbye."""
        if self._lease.held:
            await self._metered.hear_out()
        await self.upstream.close()

    async def _pump_up(self) -> None:
        """What the client said → the conversation."""
        await self._ready.wait()
        k, hub = self._session.keys, self._hub
        async with Consumer(hub.redis, hub.bus, k.pcm, pcm.decoder, after=self._handled) as entries:
            entries.on_wait = self._shared.metrics.pcm_wait
            async for entry in entries:
                self._shared.times.said(entry.id, entry.message, entries.since_us)
                await self._outbox.room()
                self._handled = entry.id
                self._shared.accounting.said(entry.message)
                self._perform(self.conversation.said(entry, _now()))

    async def _pump_down(self) -> None:
        """What the model says → the conversation."""
        async for received in self.upstream:
            self._metered.heard(received.event)
            self._shared.times.from_model(received.event)
            self._perform(self.conversation.received(received.event, received.raw, _now()))
            if self.conversation.ready and not self._ready.is_set():
                self._is_configured()

    def _is_configured(self) -> None:
        self._ready.set()
        if self._handled > ZERO:  # the one before may not have lived until it was time to look
            self._outbox.put(_LookWhatArrived(), 0)

    async def _pump_tools(self) -> None:
        """What functions have answered → the conversation."""
        await self._ready.wait()
        async for answer in self._shared.caller.answers():
            self._perform(self.conversation.tool_answered(answer.call_id, answer.output, answer.error, _now()))

    async def _write(self) -> None:
        """The outbox → the socket, one after the other; what needs Redis first waits for it in its place."""
        while True:
            await self._write_next()

    async def _write_what_waits(self) -> None:
        while not self._outbox.is_empty:
            await self._write_next()

    async def _write_next(self) -> None:
        what = await self._outbox.get()
        self._lease.check()
        match what:
            case str(frame):
                await self.upstream.send(frame)
            case Reappend(after=after, upto=upto):
                await self._append_again(after, upto)
            case TellSound() as told:
                await self._tell_sound(told)
            case Trim(upto=upto):
                with put_off(self._log, "trim pcm"):
                    await trim(self._hub.redis, self._session.keys.pcm, upto)
            case _LookWhatArrived():
                with put_off(self._log, "trim down"):
                    await self._look_what_arrived()

    async def _send(self, frame: str) -> None:
        """What had to be read first: the lease may have run out meanwhile."""
        self._lease.check()
        await self.upstream.send(frame)

    async def _append_again(self, after: EntryId, upto: EntryId) -> None:
        k = self._session.keys
        for entry in await read(self._hub.redis, k.pcm, pcm.decoder, after=after, upto=upto):
            if isinstance(entry.message, pcm.Audio):
                await self._send(client_events.append_frame(entry.message.audio))

    async def _tell_sound(self, told: TellSound) -> None:
        async with self._shared.sounds.taken(self._place, due=told.due):
            said = await sound(self._hub.redis, self._session.keys.pcm, told.start, told.end)
            if said:
                create = client_events.ConversationItemCreate(item=client_events.user_audio(said, told.item))
                await self._send(self.upstream.dialect.encode(create))

    async def _look_what_arrived(self) -> None:
        arrived = await self._sessions.cursor(self._session, "arrived")
        if arrived is not None:
            self._ledger.backlog.arrived(arrived)
            needless = arrived
            if (answer := self._ledger.answers_from) is not None and answer <= arrived:
                needless = max(answer, EntryId(arrived.left, max(0, arrived.right - KEPT_OF_AN_ANSWER)))
            await trim(self._hub.redis, self._session.keys.down, needless, but=KEPT_ENTRIES)
        if self._ledger.backlog.too_far_behind:
            self._perform(self.conversation.too_far_behind(_now()))

    async def _clock(self) -> None:
        """Wakes the conversation when it wants to be."""
        while True:
            self._rearmed.clear()
            wait = None if self._armed is None else max(0.0, self._armed - _now())
            try:
                async with asyncio.timeout(wait):
                    await self._rearmed.wait()
            except TimeoutError:
                self._perform(self.conversation.wake(_now()))

    # ── effects ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _perform(self, effects: Sequence[Effect]) -> None:
        if not self._is_left:
            self._do(effects)

    def _do(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Say(message=message):
                    self._say(message)
                case Send(event=event):
                    for known in self.conversation.retold.as_known(event):
                        self._put(self.upstream.dialect.encode(known))
                case Forward(frame=frame):
                    self._put(self.upstream.dialect.translate(frame))
                case SendAudio(audio=audio):
                    self._put(client_events.append_frame(audio))
                case Record(message=note):
                    self.noted += 1
                    self._ledger.record(note)
                    self._shared.times.noted(note)
                case Reappend() | TellSound() | Trim():
                    self._outbox.put(effect, 0)
                case Stop(stop=stop, parts=parts):
                    self._lease.check()
                    self._control.stop(stopping.Stop(stop, parts))
                case CallTool():
                    self._shared.caller.call(effect, self._shared.user)
                case Redial():
                    raise FreshSocketWanted
                case Break(code=code, message=sentence):
                    raise UpstreamUnavailable(code, sentence)
                case Finish(reason=reason):
                    raise Finished(reason)
        if (wake := self.conversation.next_wake) != self._armed:
            self._armed = wake
            self._rearmed.set()

    def _stopped(self, stop: str, heard: Heard) -> None:
        self._perform(self.conversation.stopped(stop, heard, _now()))

    def _put(self, frame: str) -> None:
        self._outbox.put(frame, len(frame))

    def _say(self, message: down.DownMessage) -> None:
        if self._ledger.say(message):
            self._outbox.put(_LookWhatArrived(), 0)


def _now() -> float:
    return asyncio.get_running_loop().time()
