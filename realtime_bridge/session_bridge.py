"""One session's bridge, from taking the lease to the session's end: one upstream socket after the other.

What happens on a socket is in `line.py`. A fresh one begins with what `turns` and `down` know of the conversation, whoever
wrote it: a socket that broke, one whose time is up (`rollover.py`) and another bridge's are taken over in the same way.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import aiohttp
from redis.asyncio import Redis

from realtime_bridge import budget, dialects, rollover, verdicts
from realtime_bridge.accounting import Accounting, load_prices
from realtime_bridge.conversation import Conversation
from realtime_bridge.dialling import LOST, Dialling, NoUpstream
from realtime_bridge.errors import UpstreamClosed, UpstreamError
from realtime_bridge.ledger import Ledger
from realtime_bridge.line import Finished, FreshSocketWanted, LeaseLost, Line, Shared
from realtime_bridge.memory import Memory
from realtime_bridge.personas import Personas
from realtime_bridge.prices import Prices
from realtime_bridge.rebuild import Rebuilt
from realtime_bridge.settings import BridgeSettings
from realtime_bridge.spoken import START
from realtime_bridge.tool_calls import ToolCaller, Webhook
from realtime_bridge.upstream import Upstream
from runtime.logs import SessionLogger
from streams import down, keys
from streams.attach import presence
from streams.dispatch import LEASE_MS, Assignment, Lease, is_handed_out_as, take_epoch
from streams.errors import Fenced, Over, StreamError, StreamUnavailable
from streams.hub import Hub
from streams.kept import Kept
from streams.sessions import Sessions, now_ms

logger = logging.getLogger(__name__)

MAX_BREAKS = 3
BREAKS_WITHIN_S = 60.0
"""So many upstream sockets may break in so long a time before the session is given up."""

SPREAD = 0.3
"""Of the time in which sessions are handed over, before the last of the quiet ones is looked at for the first time."""

PREPARE_WITHIN_S = 10.0
"""From the greeting of a fresh socket until it knows what was said."""


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


class _Left(Exception):
    """This process stops, or has lost the session: another bridge is to have it."""


class _RolledOver(Exception):
    """Another line takes over from this one."""

    def __init__(self, upstream: Upstream, line: Line | None = None) -> None:
        self.upstream, self.line = upstream, line
        """the line when it has been prepared, and nothing is under way on the old one"""
        super().__init__()


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
        self._told_to: asyncio.Future[_Left | Finished] = asyncio.get_running_loop().create_future()
        self._retires: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._dialling = Dialling(resources.http, resources.settings, self._log)
        self._closing: set[asyncio.Task[None]] = set()
        """lines that say goodbye"""
        self._caller = ToolCaller(resources.webhook, session.sid, self._log, self._clear_to_act)
        self._opened = asyncio.Event()
        self._current: Line | None = None
        """on which the conversation is at the moment"""
        self._accounting: Accounting
        self._shared: Shared
        self._ledger: Ledger
        self._memory: Memory

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
                while self._current is None or self._current.quiet_at() is None:  # noqa: ASYNC110 - time makes it quiet
                    await asyncio.sleep(rollover.LOOK_EVERY_S)
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
        try:
            return await self._came_to_its_end(await self._why_it_ended())
        finally:
            await self._lease.release()
            if self._closing:
                await asyncio.wait(self._closing)

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
                    ("retire", self._retire()),
                ):
                    group.create_task(task, name=f"{name} {self._session.sid}")
        except ExceptionGroup as group_error:
            return _cause(group_error)
        raise AssertionError("a bridge ends by an exception only")

    async def _came_to_its_end(self, cause: Exception) -> bool:
        if self._closing:  # what the last answer has cost is said there
            await asyncio.wait(self._closing)
        match cause:
            case Finished(reason=reason):
                await self._end(reason)
            case Fenced() | LeaseLost():
                self._log.warning("another bridge has, or may have, this session: %s", cause)
                return False
            case _Left():
                self._log.info("this bridge leaves the session to another")
                if self._opened.is_set():
                    with self._put_off("store what was used last"):
                        await self._ledger.flush()
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

    async def _open(self) -> Line:
        """Fence whoever was here before, and go on where they left off."""
        epoch = await take_epoch(self._r.hub.writer, self._session, self._r.owner)
        self._ledger = Ledger(self._r.hub, self._session, epoch)
        self._memory = Memory(self._r.hub, self._session, self._ledger, goes_on=self._r.settings.after_break == "continue")
        there = await presence(self._r.hub.redis, self._session)
        if not there.attached and there.detached_ms:  # the grace time does not begin anew with each bridge
            self._detached_since = self._now() - max(0, now_ms() - there.detached_ms) / 1000
        rebuilt = await self._memory.mended()
        is_takeover = rebuilt.position > START or bool(rebuilt.begun)
        if is_takeover:
            self._ledger.say(down.Reconnecting())
        r = self._r
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
        self._shared = Shared(
            r.hub,
            self._session,
            self._lease,
            self._ledger,
            self._log,
            self._accounting,
            self._caller,
            rebuilt.opened.user,
        )
        self._opened.set()
        self._log.info("bridging begins", extra={"door": rebuilt.opened.door, "epoch": epoch})
        await self._accounting.look()  # whose user has used up the day is not dialled for
        conversation = self._conversation(rebuilt, mends=is_takeover)
        conversation.hear_on(rebuilt.recalled, self._now())
        return self._line(await self._dialling.until_there(), conversation)

    def _conversation(self, rebuilt: Rebuilt, *, after: Line | None = None, mends: bool = False) -> Conversation:
        conversation = Conversation(rebuilt.opened, self._r.personas, self._r.settings.transcription_model)
        conversation.restore(rebuilt, mends=mends)
        if after is not None:
            conversation.follow(after.conversation)
        return conversation

    def _line(self, upstream: Upstream, conversation: Conversation) -> Line:
        line = Line(self._shared, upstream, conversation)
        line.go_on_from(conversation.position)
        return line

    async def _end(self, reason: str, sentence: str | None = None) -> None:
        """Tell the client, and free what the session held."""
        self._log.info("bridging ends", extra={"reason": reason})
        try:
            if sentence is not None:
                self._ledger.say(down.Failed(code=reason, message=sentence))
            self._ledger.say(down.Ended(reason=reason))
            await self._ledger.flush()
        except StreamError as error:
            self._log.warning("the last word could not be said: %s", error)
        if self._opened.is_set():
            await self._accounting.keep()
        await self._sessions.end(self._session, reason=reason)

    # ── the upstream socket ─────────────────────────────────────────────────────────────────────────────────────────

    async def _bridge(self) -> None:
        """One line after the other, until something ends the session."""
        try:
            line = await self._open()
            while True:
                line = await self._after(line, await self._why_it_is_left(line))
        except NoUpstream as error:
            self._ledger.say(error.told)
            raise Finished(error.told.code) from error

    async def _why_it_is_left(self, line: Line) -> Exception:
        """Have the conversation on this line for as long as it lasts."""
        self._current = line
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(line.converse(), name=f"converse {self._session.sid}")
                group.create_task(self._roll_over(line), name=f"roll over {self._session.sid}")
        except ExceptionGroup as group_error:
            return _cause(group_error)
        finally:
            self._close(line)
        raise AssertionError("a line ends by an exception only")

    def _close(self, line: Line) -> None:
        """Say goodbye; nobody waits for the answer."""
        closing = asyncio.create_task(line.close(), name=f"close {self._session.sid}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _after(self, line: Line, cause: Exception) -> Line:
        """The next line."""
        match cause:
            case FreshSocketWanted():
                self._log.info("a fresh upstream socket is wanted")
                return line.on(await self._dialling.until_there())
            case _RolledOver(line=Line() as prepared):
                self._log.info("rolled over to a fresh upstream socket")
                return prepared
            case _RolledOver(upstream=upstream):
                self._log.info("rolled over to a fresh upstream socket, in the middle of something")
                line.leave()
                return self._line(upstream, self._conversation(await self._memory.mended(), after=line))
            case UpstreamError() if cause.retryable and self._may_break_again():
                self._log.warning("the upstream socket broke: %s", cause, extra={"code": cause.code})
                self._ledger.say(down.Reconnecting())
                line.leave()
                conversation = self._conversation(await self._memory.mended(), after=line, mends=True)
                return self._line(await self._dialling.until_there(cause), conversation)
            case UpstreamError():
                self._log.error("the upstream socket broke: %s", cause, extra={"code": cause.code})
                raise NoUpstream(_final(cause)) from cause
            case _:
                raise cause

    def _may_break_again(self) -> bool:
        """A socket may break; one after the other within a minute is a server that will not do."""
        now = self._now()
        self._breaks = [at for at in self._breaks if now - at < BREAKS_WITHIN_S]
        self._breaks.append(now)
        return len(self._breaks) <= MAX_BREAKS

    # ── rolling over ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _roll_over(self, line: Line) -> None:
        """Leave the socket before its time is up: in a quiet moment, or, when there is none, at the last."""
        window = rollover.window(self._expires_in_s(line.upstream), self._r.settings.socket_max_s)
        if window is None:
            return
        begin, tries = self._now(), 0
        await asyncio.sleep(window.look_from)
        while True:
            late = self._now() - begin >= window.at_latest
            if late or line.quiet_at() is not None:
                tries += 1
                with self._put_off("roll over"):
                    if (next_line := await self._prepare_next(line)) is not None:
                        raise _RolledOver(next_line.upstream, next_line)
                    if late:
                        raise _RolledOver(await self._dialling.once())
                # It was refused, or is not quiet any more: the server is not to be dialled for that again and again.
                await asyncio.sleep(rollover.wait_s(tries, window.at_latest - (self._now() - begin)))
            await asyncio.sleep(rollover.LOOK_EVERY_S)

    def _expires_in_s(self, upstream: Upstream) -> float | None:
        expires_at = upstream.session.expires_at
        if expires_at is None:
            return dialects.longest_session_s(self._r.settings.openai_base_url)
        return expires_at - time.time()

    async def _prepare_next(self, line: Line) -> Line | None:
        """A line that knows all that was said, while the other one still serves; None when something is said meanwhile.

        What follows this must not wait for anything: the old line is left as it is now.
        """
        if line.quiet_at() is None:
            return None
        noted = line.noted
        rebuilt = await self._memory.recalled()
        rebuilt.goes_on = False
        next_line = self._line(await self._dialling.once(), self._conversation(rebuilt))
        position = None
        try:
            async with asyncio.timeout(PREPARE_WITHIN_S):
                await next_line.prepare()
        except Finished as refused:
            self._log.warning("a fresh socket will not do: %s", refused.reason)
            return None
        else:
            position = line.quiet_at() if line.noted == noted else None
        finally:
            if position is None:
                await next_line.close()
        if position is None:
            return None
        next_line.go_on_from(position)
        return next_line

    # ── the lease ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _watch(self) -> None:
        await self._lease.keep(self._renewed)
        raise LeaseLost

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
                self._ledger.say(down.Notice(code=code, message=sentence))
            case budget.Stop(reason=reason, sentence=sentence):
                self._ledger.say(down.Notice(code=reason, message=sentence, final=True))
                if self._current is None:
                    raise Finished(reason)
                self._current.finish(reason)

    async def _clear_to_act(self) -> None:
        """A call is made once it is recorded (whoever comes after us knows of it then), and while the session is ours."""
        await self._ledger.flush()
        if not self._lease.held:
            raise LeaseLost

    async def _wait_to_be_told(self) -> None:
        raise await asyncio.shield(self._told_to)

    @contextmanager
    def _put_off(self, what: str) -> Iterator[None]:
        """What does not work now is done the next time: it is no reason to hang up on anybody."""
        try:
            yield
        except (StreamUnavailable, UpstreamError, TimeoutError) as error:
            self._log.warning("could not %s: %s", what, error)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


_BY_WEIGHT = (Fenced, LeaseLost, _Left, Over, Finished, FreshSocketWanted, _RolledOver, UpstreamError)


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


def _final(cause: UpstreamError) -> down.Failed:
    """What a client is told of a break that is not to be mended: its real reason, where it is one of the server's."""
    if cause.retryable:
        return down.Failed(code="upstream_lost", message=LOST)
    verdict = verdicts.of_hangup(cause, None) if isinstance(cause, UpstreamClosed) else cause
    return down.Failed(code=verdict.code, message=verdict.message)
