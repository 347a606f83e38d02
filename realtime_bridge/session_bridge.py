"""One session's bridge: the shell that does what its conversation decides.

One task group a socket: pump up (`pcm` → conversation), pump down (the model's events → conversation), the writer of the
socket, the clock, and the watch over the lease. When one ends, all end, with a reason.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import aiohttp
from redis.asyncio import Redis

from realtime_bridge import budget, client_events, retry
from realtime_bridge.accounting import Accounting, Metered, load_prices
from realtime_bridge.backlog import Backlog
from realtime_bridge.control import Control
from realtime_bridge.conversation import Conversation
from realtime_bridge.effects import (
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
    Trim,
)
from realtime_bridge.errors import UpstreamError
from realtime_bridge.outbox import Outbox
from realtime_bridge.personas import Personas
from realtime_bridge.playback import Heard
from realtime_bridge.prices import Prices
from realtime_bridge.rebuild import Rebuilt, broken_answers, rebuild, untold
from realtime_bridge.settings import BridgeSettings
from realtime_bridge.tool_calls import ToolCaller, Webhook
from realtime_bridge.upstream import Upstream, dial, realtime_url
from runtime.logs import SessionLogger
from streams import down, keys, pcm, stopping, turns
from streams.attach import presence
from streams.consumer import Consumer, read
from streams.dispatch import LEASE_MS, Assignment, Lease, is_handed_out_as, take_epoch
from streams.errors import Fenced, Over, StreamError, StreamUnavailable
from streams.hub import Hub
from streams.ids import ZERO, EntryId
from streams.kept import Kept
from streams.producer import Chained, Producer
from streams.sessions import Sessions, now_ms
from streams.trim import trim

logger = logging.getLogger(__name__)

MAX_BREAKS = 3
BREAKS_WITHIN_S = 60.0
"""So many upstream sockets may break in so long a time before the session is given up."""


KEPT_ENTRIES = 200
"""Of what has reached the client's machine, at least ten seconds of speech: a client that drops may not have taken from its
own buffers what it was sent last, and says so when it comes back."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What all sessions of a bridge process share."""

    settings: BridgeSettings
    personas: Personas
    hub: Hub
    http: aiohttp.ClientSession
    owner: str
    """this process, in leases and epochs"""
    prices: Prices = field(default_factory=partial(load_prices, None))
    webhook: Webhook = field(init=False)
    """where function calls go"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "webhook", Webhook.of(self.http, self.personas, self.settings))


def kept(settings: BridgeSettings, redis: Redis) -> Kept:
    """What becomes of the sessions that a bridge ends."""
    return Kept(redis, keep_s=settings.keep_s, webhook=settings.webhook_url is not None)


class _LookWhatArrived:
    """Time to trim `down` by what the client has, and to see whether it keeps up."""


class _Finished(Exception):
    """The session is over; the client is to be told."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class _Left(Exception):
    """This process stops, or has lost the session: another bridge is to have it."""


class _Redial(Exception):
    """This socket will not do any more; another one is wanted."""


class _LeaseLost(Exception):
    """Somebody else may be this session's bridge by now: no effect any more, not a word."""


class SessionBridge:
    """Bridges one session from taking the lease to its end."""

    def __init__(self, assignment: Assignment, resources: Resources) -> None:
        self._assignment, self._session, self._r = assignment, assignment.session, resources
        session = assignment.session
        self._breaks: list[float] = []
        self._detached_since: float | None = None
        """since when no client is attached, as far as we know"""
        self._log = SessionLogger(logger, session.sid)
        self._lease = Lease(resources.hub.redis, session, resources.owner)
        self._sessions = Sessions(resources.hub.redis, kept(resources.settings, resources.hub.redis))
        self._outbox: Outbox[str | Reappend | Trim | _LookWhatArrived] = Outbox()
        self._ready = asyncio.Event()
        self._told_to: asyncio.Future[_Left | _Finished] = asyncio.get_running_loop().create_future()
        self._handled = ZERO
        """the entry of `pcm` up to which everything has been handed to the conversation"""
        settings = resources.settings
        self._url = realtime_url(settings.openai_base_url, settings.openai_realtime_model)
        self._key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
        self._caller = ToolCaller(resources.webhook, session.sid, self._log, self._clear_to_act)
        self._user = ""
        self._armed: float | None = None
        self._rearmed = asyncio.Event()
        self._opened = asyncio.Event()
        self._control = Control(resources.hub, session, self._stopped, self._log)
        self._conversation: Conversation
        self._accounting: Accounting
        self._metered: Metered
        self._down: Producer
        self._turns: Producer

    def leave(self) -> None:
        """Fall silent, and let another bridge have the session; `run` returns soon after."""
        if not self._told_to.done():
            self._told_to.set_result(_Left())

    def end(self, reason: str) -> None:
        """End the session; `run` returns soon after."""
        if not self._told_to.done():
            self._told_to.set_result(_Finished(reason))

    @property
    def holds(self) -> bool:
        """Whether the lease is ours."""
        return self._lease.held

    @property
    def is_busy(self) -> bool:
        """Whether a client is there, as far as we know."""
        return self._detached_since is None

    async def run(self) -> bool:
        """Bridge until the session ends; True then. False when somebody else has it, or is to have it."""
        if not await self._lease.acquire_within(LEASE_MS / 1000 + 1):
            self._log.info("another bridge has this session")
            return not await is_handed_out_as(self._r.hub.redis, self._assignment, "bridge")
        try:
            return await self._came_to_its_end(await self._why_it_ended())
        finally:
            await self._lease.release()

    async def _why_it_ended(self) -> Exception:
        """Bridge; what ended it."""
        try:
            async with asyncio.TaskGroup() as group:
                for name, task in (
                    ("bridge", self._bridge()),
                    ("watch", self._watch()),
                    ("renew", self._renew()),
                    ("tools", self._caller.run()),
                    ("account", self._account()),
                    ("told", self._wait_to_be_told()),
                ):
                    group.create_task(task, name=f"{name} {self._session.sid}")
        except ExceptionGroup as group_error:
            return _cause(group_error)
        raise AssertionError("a bridge ends by an exception only")

    async def _came_to_its_end(self, cause: Exception) -> bool:
        match cause:
            case _Finished(reason=reason):
                await self._end(reason)
            case Fenced() | _LeaseLost():
                self._log.warning("another bridge has, or may have, this session: %s", cause)
                return False
            case _Left():
                self._log.info("this bridge leaves the session to another")
                if self._opened.is_set():
                    with self._put_off("store what was used last"):
                        await self._turns.flush()
                return False
            case Over():
                self._log.info("the session's streams are gone")
                await self._sessions.end(self._session)
            case StreamError():
                # Redis does not answer. The session is all there; whoever looks for orphans next tries again.
                self._log.warning("this bridge cannot go on: %s", cause)
                return False
            case _:
                if self._opened.is_set():
                    await self._end("internal_error", "Something went wrong on our side. Please connect again.")
                raise cause
        return True

    async def _open(self) -> None:
        """Fence whoever was here before, and read what was said."""
        self._epoch = await take_epoch(self._r.hub.writer, self._session, self._r.owner)
        self._down = Producer(self._r.hub.writer, self._session.keys.down, Chained(self._epoch))
        self._backlog = Backlog(self._epoch)
        self._turns = Producer(self._r.hub.writer, self._session.keys.turns, Chained(self._epoch))
        there = await presence(self._r.hub.redis, self._session)
        if not there.attached and there.detached_ms:  # the grace time does not begin anew with each bridge
            self._detached_since = self._now() - max(0, now_ms() - there.detached_ms) / 1000
        rebuilt = await self._rebuild()
        self._conversation = Conversation(rebuilt.opened, self._r.personas, self._r.settings.transcription_model)
        self._user = rebuilt.opened.user
        self._go_on_from(rebuilt)
        r = self._r
        self._accounting = Accounting(
            r.hub.redis,
            self._session,
            r.settings,
            r.prices,
            self._log,
            rebuilt,
            self._turns.append,
            self._tell_of_limit,
        )
        self._opened.set()
        self._log.info("bridging begins", extra={"door": rebuilt.opened.door, "epoch": self._epoch})
        await self._accounting.look()  # whose user has used up the day is not dialled for

    async def _rebuild(self) -> Rebuilt:
        """What was said so far; what was begun to be answered and never finished is void from here on."""
        k, redis = self._session.keys, self._r.hub.redis
        rebuilt = rebuild(await read(redis, k.turns, turns.decoder))
        if rebuilt is None:
            raise Over(k.turns)
        arrived = await self._sessions.cursor(self._session, "arrived")
        told = await read(redis, k.down, down.decoder)
        rebuilt.untold = untold(told, rebuilt.used)
        for void in broken_answers(told, rebuilt.answered, arrived or ZERO):
            self._say(void)
        return rebuilt

    def _go_on_from(self, rebuilt: Rebuilt) -> None:
        self._conversation.restore(rebuilt)
        entry, samples = rebuilt.position
        # An entry of which some samples are dealt with is read again.
        self._handled = EntryId(entry.left, entry.right - 1) if samples else entry

    async def _end(self, reason: str, sentence: str | None = None) -> None:
        """Tell the client, and free what the session held."""
        self._log.info("bridging ends", extra={"reason": reason})
        try:
            if sentence is not None:
                self._down.append(down.Failed(code=reason, message=sentence))
            self._down.append(down.Ended(reason=reason))
            await self._down.flush()
            await self._turns.flush()
        except StreamError as error:
            self._log.warning("the last word could not be said: %s", error)
        if self._opened.is_set():
            await self._accounting.keep()
        await self._sessions.end(self._session, reason=reason)

    # ── the upstream socket ─────────────────────────────────────────────────────────────────────────────────────────

    async def _bridge(self) -> None:
        """One upstream socket after the other, until something ends the session."""
        await self._open()
        while True:
            upstream = await self._dial()
            self._metered = self._accounting.metered(upstream)
            try:
                await self._converse(upstream)
            except ExceptionGroup as group:
                match cause := _cause(group):
                    case _Redial():
                        self._log.info("a fresh upstream socket is wanted")
                    case UpstreamError() if cause.retryable and self._may_break_again():
                        self._log.warning("the upstream socket broke: %s", cause, extra={"code": cause.code})
                        await self._turns.flush()
                        await self._down.flush()
                        self._go_on_from(await self._rebuild())
                    case UpstreamError():
                        self._log.error("the upstream socket broke: %s", cause, extra={"code": cause.code})
                        told = "The connection to the model broke, and could not be mended. Please connect again."
                        self._say(down.Failed(code="upstream_lost", message=told))
                        raise _Finished("upstream_lost") from group
                    case _:
                        raise cause from group
            finally:
                if self._lease.held:
                    await self._metered.hear_out()
                await upstream.close()

    def _may_break_again(self) -> bool:
        """A socket may break; one after the other within a minute is a server that will not do."""
        now = self._now()
        self._breaks = [at for at in self._breaks if now - at < BREAKS_WITHIN_S]
        self._breaks.append(now)
        return len(self._breaks) <= MAX_BREAKS

    async def _dial(self) -> Upstream:
        failures = 0
        while True:
            try:
                return await dial(self._r.http, self._url, self._key)
            except UpstreamError as error:
                failures += 1
                decision = retry.after(failures, error, random.random())
                if isinstance(decision, retry.GiveUp):
                    self._log.error("no upstream: %s", decision.because, extra={"code": error.code})
                    # Who it is and where is for the operator; a client is told what it can do.
                    told = "The model cannot be reached at the moment. Please try again later."
                    self._say(down.Failed(code=error.code, message=told if error.retryable else decision.because))
                    raise _Finished(error.code) from error
                self._log.warning("no upstream yet: %s", error, extra={"code": error.code})
                await asyncio.sleep(decision.seconds)

    async def _converse(self, upstream: Upstream) -> None:
        """Everything that happens on one socket. Raises an exception group with why it ended."""
        self._outbox, self._armed = Outbox(), None
        self._ready.clear()
        async with asyncio.TaskGroup() as group:
            self._perform(self._conversation.dialled())
            for name, pump in (
                ("down", self._pump_down(upstream)),
                ("write", self._write(upstream)),
                ("up", self._pump_up()),
                ("tools", self._pump_tools()),
                ("clock", self._clock()),
                ("control", self._control.run()),
            ):
                group.create_task(pump, name=f"{name} {self._session.sid}")

    async def _pump_up(self) -> None:
        """What the client said → the conversation."""
        await self._ready.wait()
        k = self._session.keys
        async with Consumer(self._r.hub.redis, self._r.hub.bus, k.pcm, pcm.decoder, after=self._handled) as entries:
            async for entry in entries:
                await self._outbox.room()
                self._handled = entry.id
                self._accounting.said(entry.message)
                self._perform(self._conversation.said(entry, self._now()))

    async def _pump_down(self, upstream: Upstream) -> None:
        """What the model says → the conversation."""
        async for received in upstream:
            self._metered.heard(received.event)
            self._perform(self._conversation.received(received.event, received.raw, self._now()))
            if self._conversation.ready and not self._ready.is_set():
                self._ready.set()

    async def _pump_tools(self) -> None:
        """What functions have answered → the conversation."""
        await self._ready.wait()
        async for answer in self._caller.answers():
            self._perform(self._conversation.tool_answered(answer.call_id, answer.output, answer.error, self._now()))

    async def _clear_to_act(self) -> None:
        """A call is made once it is recorded (whoever comes after us knows of it then), and while the session is ours."""
        await self._turns.flush()
        if not self._lease.held:
            raise _LeaseLost

    async def _write(self, upstream: Upstream) -> None:
        """The outbox → the socket, one after the other; what needs Redis first waits for it in its place."""
        while True:
            match await self._outbox.get():
                case str(frame):
                    if not self._lease.held:
                        raise _LeaseLost
                    await upstream.send(frame)
                case Reappend(after=after, upto=upto):
                    await self._append_again(upstream, after, upto)
                case Trim(upto=upto):
                    with self._put_off("trim pcm"):
                        await trim(self._r.hub.redis, self._session.keys.pcm, upto)
                case _LookWhatArrived():
                    with self._put_off("trim down"):
                        await self._look_what_arrived()

    @contextmanager
    def _put_off(self, what: str) -> Iterator[None]:
        """Housekeeping that Redis does not answer is done the next time: it is no reason to hang up on anybody."""
        try:
            yield
        except StreamUnavailable as error:
            self._log.warning("could not %s: %s", what, error)

    async def _append_again(self, upstream: Upstream, after: EntryId, upto: EntryId) -> None:
        k = self._session.keys
        for entry in await read(self._r.hub.redis, k.pcm, pcm.decoder, after=after, upto=upto):
            if isinstance(entry.message, pcm.Audio):
                if not self._lease.held:
                    raise _LeaseLost
                await upstream.send(client_events.append_frame(entry.message.audio))

    async def _look_what_arrived(self) -> None:
        arrived = await self._sessions.cursor(self._session, "arrived")
        if arrived is not None:
            self._backlog.arrived(arrived)
            await trim(self._r.hub.redis, self._session.keys.down, arrived, but=KEPT_ENTRIES)
        if self._backlog.too_far_behind:
            self._perform(self._conversation.too_far_behind(self._now()))

    async def _clock(self) -> None:
        """Wakes the conversation when it wants to be."""
        while True:
            self._rearmed.clear()
            wait = None if self._armed is None else max(0.0, self._armed - self._now())
            try:
                async with asyncio.timeout(wait):
                    await self._rearmed.wait()
            except TimeoutError:
                self._perform(self._conversation.wake(self._now()))

    async def _watch(self) -> None:
        await self._lease.keep(self._renewed)
        raise _LeaseLost

    def _renewed(self, attached: bool) -> None:
        """The lease is ours for another while; a client that is away is waited for, not for ever."""
        now = self._now()
        if attached:
            self._detached_since = None
        elif self._detached_since is None:
            self._detached_since = now
        elif now - self._detached_since > self._r.settings.grace_s:
            self.end("client_gone")

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(keys.RENEW_S)
            with self._put_off("renew the keys"):
                await self._sessions.renew(self._session)

    async def _account(self) -> None:
        await self._opened.wait()
        await self._accounting.run()

    def _tell_of_limit(self, verdict: budget.Verdict) -> None:
        match verdict:
            case budget.Warn(code=code, sentence=sentence):
                self._say(down.Notice(code=code, message=sentence))
            case budget.Stop(reason=reason, sentence=sentence):
                self._say(down.Notice(code=reason, message=sentence, final=True))
                self._perform(self._conversation.finish(reason, self._now()))

    async def _wait_to_be_told(self) -> None:
        raise await asyncio.shield(self._told_to)

    # ── effects ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Say(message=message):
                    self._say(message)
                case Send(event=event):
                    frame = client_events.encode(event)
                    self._outbox.put(frame, len(frame))
                case Forward(frame=frame):
                    self._outbox.put(frame, len(frame))
                case SendAudio(audio=audio):
                    frame = client_events.append_frame(audio)
                    self._outbox.put(frame, len(frame))
                case Record(message=message):
                    self._turns.append(message)
                case Reappend() | Trim():
                    self._outbox.put(effect, 0)
                case Stop(stop=stop, parts=parts):
                    self._control.stop(stopping.Stop(stop, parts))
                case CallTool():
                    self._caller.call(effect, self._user)
                case Redial():
                    raise _Redial
                case Finish(reason=reason):
                    raise _Finished(reason)
        if (wake := self._conversation.next_wake) != self._armed:
            self._armed = wake
            self._rearmed.set()

    def _stopped(self, stop: str, heard: Heard) -> None:
        self._perform(self._conversation.stopped(stop, heard, self._now()))

    def _say(self, message: down.DownMessage) -> None:
        number = self._down.next_number
        self._down.append(message)
        if isinstance(message, down.Audio) and self._backlog.said(number, len(message.audio)):
            self._outbox.put(_LookWhatArrived(), 0)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


_BY_WEIGHT = (Fenced, _LeaseLost, _Left, Over, _Finished, _Redial, UpstreamError)


def _cause(group: ExceptionGroup[Exception]) -> Exception:
    """Why a socket's task group ended. Several tasks may have failed at once: who may not speak any more comes first."""
    for kind in _BY_WEIGHT:
        matching = group.subgroup(kind)
        if matching is not None:
            return _leaf(matching)
    return _leaf(group)


def _leaf(group: ExceptionGroup[Exception]) -> Exception:
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
