"""One session's bridge, from taking the lease to the session's end.

The conversation goes over one upstream socket after the other: `lines.py`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiohttp
from redis.asyncio import Redis

from realtime_bridge import budget
from realtime_bridge.accounting import Accounting, load_prices
from realtime_bridge.causes import cause_of
from realtime_bridge.dialling import NoUpstream
from realtime_bridge.ledger import Ledger
from realtime_bridge.line import Finished, Shared
from realtime_bridge.lines import Lines
from realtime_bridge.memory import Memory
from realtime_bridge.metrics import Metrics
from realtime_bridge.personas import Personas
from realtime_bridge.postponed import put_off
from realtime_bridge.prices import Prices
from realtime_bridge.settings import BridgeSettings
from realtime_bridge.slots import Slots
from realtime_bridge.spoken import START
from realtime_bridge.tool_calls import ToolCaller, Webhook
from realtime_bridge.turn_clock import TurnClock
from runtime import traces
from runtime.logs import SessionLogger
from streams import down, keys
from streams.attach import presence, say_failed
from streams.dispatch import LEASE_MS, Assignment, Lease, is_handed_out_as
from streams.errors import Fenced, LeaseLost, Over, ServerFull, StreamError, StreamUnavailable
from streams.hub import Hub
from streams.kept import Kept
from streams.sessions import LINGER_MS, Sessions, now_ms

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.25
"""For a quiet moment."""

SOUNDS_AT_ONCE = 8
"""Sessions that tell the model what was said as sound. A bridge that takes over a hundred at once may have no transcript."""

SPREAD = 0.3
"""Of the time in which sessions are handed over, before the last of the quiet ones is looked at for the first time."""


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
    metrics: Metrics = field(default_factory=Metrics)
    webhook: Webhook = field(init=False)
    """where function calls go"""
    sounds: Slots = field(default_factory=partial(Slots, SOUNDS_AT_ONCE))
    """see `Shared`"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "webhook", Webhook.of(self.http, self.personas, self.settings))


def kept(settings: BridgeSettings, redis: Redis) -> Kept:
    """What becomes of the sessions that a bridge ends."""
    return Kept(redis, keep_s=settings.keep_s, webhook=settings.webhook_url is not None)


class _Left(Exception):
    """This process stops, or has lost the session: another bridge is to have it."""


class SessionBridge:
    """Bridges one session from taking the lease to its end."""

    def __init__(self, assignment: Assignment, resources: Resources) -> None:
        self._assignment, self._session, self._r = assignment, assignment.session, resources
        session = assignment.session
        self._detached_since: float | None = None
        """since when no client is attached, as far as we know"""
        self._log = SessionLogger(logger, session.sid)
        self._lease = Lease(resources.hub.redis, session, resources.owner)
        self._sessions = Sessions(resources.hub.redis, kept(resources.settings, resources.hub.redis))
        self._told_to: asyncio.Future[_Left | Finished] = asyncio.get_running_loop().create_future()
        self._retires: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._caller = ToolCaller(resources.webhook, session.sid, self._log, self._clear_to_act)
        self._opened = asyncio.Event()
        self._lines: Lines | None = None
        self._accounting: Accounting
        self._ledger: Ledger
        self._times: TurnClock
        self._door = ""

    def leave(self) -> None:
        """Fall silent, and let another bridge have the session; `run` returns soon after."""
        if not self._told_to.done():
            self._told_to.set_result(_Left())

    def retire(self, within_s: float) -> None:
        """Leave the session to another bridge in a quiet moment, at the latest after so long."""
        if not self._retires.done():
            self._retires.set_result(within_s)

    async def _retire(self) -> None:
        """In a quiet moment nothing has to be mended: the next bridge is told what was said, and goes on from there."""
        within_s = await asyncio.shield(self._retires)
        try:
            async with asyncio.timeout(within_s):
                await asyncio.sleep(random.random() * within_s * SPREAD)  # all quiet sessions at once are a herd
                while (lines := self._lines) is not None and lines.current is not None and lines.current.quiet_at() is None:  # noqa: ASYNC110 - time makes it quiet
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            self._log.info("no quiet moment has come to hand this session over in")
        self.leave()

    def end(self, reason: str) -> None:
        """End the session; `run` returns soon after."""
        if not self._told_to.done():
            self._told_to.set_result(Finished(reason))

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
        begun_ms = now_ms()
        keeping: asyncio.Task[None] | None = None
        try:
            why = await self._why_it_ended()
            # To end it may take seconds, and nobody else shall begin meanwhile.
            keeping = asyncio.create_task(self._lease.keep(lambda _: None), name=f"keep the lease {self._session.sid}")
            return await self._came_to_its_end(why)
        except StreamUnavailable as error:
            self._log.warning("the session's end could not be written, and is left to another bridge: %s", error)
            return False
        finally:
            traces.span(self._session.sid, "bridge", begun_ms, now_ms())
            if keeping is not None:
                keeping.cancel()
            await self._lease.release()
            if self._lines is not None:
                await self._lines.closed()

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
                    ("times", self._hear_times()),
                    ("told", self._wait_to_be_told()),
                    ("retire", self._retire()),
                ):
                    group.create_task(self._or_end(task), name=f"{name} {self._session.sid}")
        except ExceptionGroup as group_error:
            return cause_of(group_error, _BY_WEIGHT)
        raise AssertionError("a bridge ends by an exception only")

    async def _or_end(self, work: Coroutine[Any, Any, None]) -> None:
        """When it fails, the session ends."""
        try:
            await work
        except Exception:  # whatever it is, it ends the session; why is said once, of all that failed
            if self._lines is not None:
                self._lines.is_ending = True
            raise

    async def _came_to_its_end(self, why: Exception) -> bool:
        if self._lines is not None:
            await self._lines.closed()  # what the last answer has cost is said there
        match why:
            case Finished(reason=reason):
                return await self._end(reason)
            case Fenced() | LeaseLost():
                self._log.warning("another bridge has, or may have, this session: %s", why)
                return False
            case _Left():
                self._log.info("this bridge leaves the session to another")
                if self._opened.is_set():
                    self._times.close()
                    with put_off(self._log, "store what was used last", Fenced):
                        await self._ledger.flush()
                return False
            case Over():
                self._log.info("the session's streams are gone")
                await self._sessions.end(self._session)
            case ServerFull() if self._opened.is_set() and self._lease.held:
                await self._end_for_room(why)
            case StreamError():
                # Redis does not answer. The session is all there; whoever looks for orphans next tries again.
                self._log.warning("this bridge cannot go on: %s", why)
                return False
            case _:
                if self._opened.is_set():
                    await self._end("internal_error", "Something went wrong on our side. Please connect again.")
                raise why
        return True

    async def _bridge(self) -> None:
        """Fence whoever was here before, and go on where they left off, until something ends the session."""
        epoch = await self._lease.take_epoch(self._r.hub.writer)
        self._ledger = Ledger(self._r.hub, self._session, epoch)
        memory = Memory(
            self._r.hub,
            self._session,
            self._ledger,
            self._r.personas,
            goes_on=self._r.settings.after_break == "continue",
        )
        there = await presence(self._r.hub.redis, self._session)
        if not there.attached and there.detached_ms:  # the grace time does not begin anew with each bridge
            self._detached_since = self._now() - max(0, now_ms() - there.detached_ms) / 1000
        rebuilt = await memory.mended()
        is_takeover = rebuilt.position > START or bool(rebuilt.begun)
        if is_takeover:
            self._ledger.say(down.Reconnecting())
        r = self._r
        self._times = TurnClock(r.hub, self._session, self._ledger.record, r.metrics, self._log)
        self._accounting = Accounting(
            r.hub.redis,
            self._session,
            r.settings,
            r.prices,
            self._log,
            rebuilt,
            self._ledger.record,
            self._tell_of_limit,
        )
        shared = Shared(
            r.hub,
            self._session,
            self._lease,
            self._ledger,
            self._log,
            self._accounting,
            self._caller,
            rebuilt.opened.user,
            self._times,
            r.metrics,
            r.sounds,
        )
        self._lines = Lines(shared, r.settings, r.personas, r.http, memory)
        self._door = rebuilt.opened.door
        self._opened.set()
        self._log.info("bridging begins", extra={"door": rebuilt.opened.door, "epoch": epoch})
        await self._accounting.look()  # whose user has used up the day is not dialled for
        try:
            await self._lines.run(rebuilt, mends=is_takeover)
        except NoUpstream as error:
            self._ledger.say(error.told)
            raise Finished(error.told.code) from error

    async def _end(self, reason: str, sentence: str | None = None) -> bool:
        """Tell the client, and free what the session held; False when it is another bridge's, and goes on there."""
        try:
            self._lease.check()
            await self._end_ours(reason, sentence)
        except (Fenced, LeaseLost) as error:
            self._log.warning("the session is not ended: another bridge has, or may have, it: %s", error)
            return False
        return True

    async def _end_ours(self, reason: str, sentence: str | None) -> None:
        """Raises Fenced when it is not, as the last word tells, or LeaseLost."""
        self._log.info("bridging ends", extra={"reason": reason})
        if self._opened.is_set():
            self._times.close()
            about = {"reason": reason, "door": self._door}
            traces.span(self._session.sid, "session", self._accounting.started_ms, now_ms(), about, traces.ROOT)
            await self._say_the_last_word(reason, sentence)
            await self._accounting.keep()
        line = None if self._lines is None else self._lines.current
        plays_on_ms = 0 if line is None else round(line.plays_on_s * 1000)
        await self._sessions.end(self._session, reason=reason, linger_ms=LINGER_MS + plays_on_ms)

    async def _say_the_last_word(self, reason: str, sentence: str | None) -> None:
        try:
            if sentence is not None:
                self._ledger.say(down.Failed(code=reason, message=sentence))
            self._ledger.say(down.Ended(reason=reason))
            await self._ledger.flush()
        except Fenced:
            raise
        except StreamError as error:
            self._log.warning("the last word could not be said: %s", error)
            self._lease.check()  # it has taken its time to fail

    async def _end_for_room(self, why: Exception) -> None:
        """Redis is full and stays full: what this session holds of it makes room for the others."""
        self._log.error("bridging ends, for Redis has no room for what is said: %s", why, extra={"reason": "no_room"})
        with put_off(self._log, "say so"):
            await say_failed(self._r.hub.redis, self._session, "no_room")
        await self._sessions.end(self._session)
        with put_off(self._log, "keep what was said"):  # for which there may be room now
            await self._sessions.kept.keep(self._session.sid, self._session.at, "no_room")

    # ── the lease ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _watch(self) -> None:
        await self._lease.keep(self._renewed)
        raise LeaseLost(self._session.keys.lease)

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
            with put_off(self._log, "renew the keys"):
                await self._sessions.renew(self._session)

    async def _account(self) -> None:
        await self._opened.wait()
        await self._accounting.run()

    async def _hear_times(self) -> None:
        await self._opened.wait()
        await self._times.run()

    def _tell_of_limit(self, verdict: budget.Verdict) -> None:
        match verdict:
            case budget.Warn(code=code, sentence=sentence):
                self._ledger.say(down.Notice(code=code, message=sentence))
            case budget.Stop(reason=reason, sentence=sentence):
                self._ledger.say(down.Notice(code=reason, message=sentence, final=True))
                if self._lines is None or self._lines.current is None:
                    raise Finished(reason)
                self._lines.current.finish(reason)

    async def _clear_to_act(self) -> None:
        """A call is made once it is recorded (whoever comes after us knows of it then), and while the session is ours."""
        await self._ledger.flush()
        self._lease.check()

    async def _wait_to_be_told(self) -> None:
        raise await asyncio.shield(self._told_to)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


_BY_WEIGHT = (Fenced, LeaseLost, _Left, Over, Finished)
"""Why a session's bridge ends, where there are several reasons: who may not speak any more comes first."""
