"""One line to the model after the other: why one is left, and what the next one begins with.

A fresh one begins with what `turns` and `down` know of the conversation, whoever wrote it: a socket that broke, one whose
time is up (`rollover.py`) and another bridge's are taken over in the same way. What happens on a socket is in `line.py`.
"""

from __future__ import annotations

import asyncio
import time
from typing import NoReturn

import aiohttp

from realtime_bridge import dialects, rollover, verdicts
from realtime_bridge.causes import cause_of
from realtime_bridge.conversation import Conversation
from realtime_bridge.dialling import LOST, Dialling, NoUpstream
from realtime_bridge.errors import UpstreamClosed, UpstreamError
from realtime_bridge.line import Finished, FreshSocketWanted, Line, Shared
from realtime_bridge.memory import Memory
from realtime_bridge.personas import Personas
from realtime_bridge.postponed import put_off
from realtime_bridge.rebuild import Rebuilt
from realtime_bridge.settings import BridgeSettings
from realtime_bridge.upstream import Upstream
from streams import down
from streams.errors import Fenced, LeaseLost, Over

MAX_BREAKS = 3
BREAKS_WITHIN_S = 60.0
"""So many upstream sockets may break in so long a time before the session is given up."""

PREPARE_WITHIN_S = 10.0
"""From the greeting of a fresh socket until it knows what was said."""


class _RolledOver(Exception):
    """Another line takes over from this one."""

    def __init__(self, upstream: Upstream, line: Line | None = None) -> None:
        self.upstream, self.line = upstream, line
        """the line when it has been prepared, and nothing is under way on the old one"""
        super().__init__()


_BY_WEIGHT = (Fenced, LeaseLost, Over, Finished, FreshSocketWanted, _RolledOver, UpstreamError)
"""Why a line is left, where there are several reasons: who may not speak any more comes first."""


class Lines:
    """One session's. Made in the loop."""

    def __init__(
        self, shared: Shared, settings: BridgeSettings, personas: Personas, http: aiohttp.ClientSession, memory: Memory
    ) -> None:
        self.current: Line | None = None
        """on which the conversation is at the moment"""
        self.is_ending = False
        """something has ended the session, and all that is still done is cancelled"""
        self._shared, self._settings, self._personas, self._memory = shared, settings, personas, memory
        self._log = shared.log
        self._dialling = Dialling(http, settings, shared.log)
        self._breaks: list[float] = []
        self._closing: set[asyncio.Task[None]] = set()
        """lines that say goodbye"""

    async def run(self, rebuilt: Rebuilt, *, mends: bool) -> NoReturn:
        """Converse, beginning with what is known. Raises what ends the session; NoUpstream when there is no next line.

        `mends`: the client was told of a break, and is told of its end.
        """
        conversation = self._conversation(rebuilt, mends=mends)
        conversation.hear_on(rebuilt.recalled, _now())
        line = self._line(await self._dialling.until_there(), conversation)
        while True:
            line = await self._after(line, await self._why_it_is_left(line))

    async def closed(self) -> None:
        """All goodbyes are said, and what the last answers have cost is known."""
        if self._closing:
            await asyncio.wait(self._closing)

    def _conversation(self, rebuilt: Rebuilt, *, after: Line | None = None, mends: bool = False) -> Conversation:
        conversation = Conversation(rebuilt.opened, self._personas, self._settings.transcription_model)
        conversation.restore(rebuilt, mends=mends)
        if after is not None:
            conversation.follow(after.conversation)
        return conversation

    def _line(self, upstream: Upstream, conversation: Conversation) -> Line:
        line = Line(self._shared, upstream, conversation)
        line.go_on_from(conversation.position)
        return line

    async def _why_it_is_left(self, line: Line) -> Exception:
        """Have the conversation on this line for as long as it lasts."""
        self.current = line
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(line.converse(), name=f"converse {self._shared.session.sid}")
                group.create_task(self._roll_over(line), name=f"roll over {self._shared.session.sid}")
        except ExceptionGroup as group_error:
            if self.is_ending:  # we were cancelled at the same moment, which a task group keeps to itself when it has failed
                raise asyncio.CancelledError from group_error
            return cause_of(group_error, _BY_WEIGHT)
        finally:
            self._close(line)
        raise AssertionError("a line ends by an exception only")

    def _close(self, line: Line) -> None:
        """Say goodbye; nobody waits for the answer."""
        closing = asyncio.create_task(line.close(), name=f"close {self._shared.session.sid}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _after(self, line: Line, why: Exception) -> Line:
        """The next line."""
        if isinstance(why, UpstreamError):
            self._shared.metrics.breaks.inc()
        match why:
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
            case UpstreamError() if why.retryable and self._may_break_again():
                self._log.warning("the upstream socket broke: %s", why, extra={"code": why.code})
                self._shared.ledger.say(down.Reconnecting())
                line.leave()
                conversation = self._conversation(await self._memory.mended(), after=line, mends=True)
                return self._line(await self._dialling.until_there(why), conversation)
            case UpstreamError():
                self._log.error("the upstream socket broke: %s", why, extra={"code": why.code})
                raise NoUpstream(_final(why)) from why
            case _:
                raise why

    def _may_break_again(self) -> bool:
        """A socket may break; one after the other within a minute is a server that will not do."""
        now = _now()
        self._breaks = [at for at in self._breaks if now - at < BREAKS_WITHIN_S]
        self._breaks.append(now)
        return len(self._breaks) <= MAX_BREAKS

    # ── rolling over ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _roll_over(self, line: Line) -> None:
        """Leave the socket before its time is up: in a quiet moment, or, when there is none, at the last."""
        window = rollover.window(self._expires_in_s(line.upstream), self._settings.socket_max_s)
        if window is None:
            return
        begin, tries = _now(), 0
        await asyncio.sleep(window.look_from)
        while True:
            late = _now() - begin >= window.at_latest
            if late or line.quiet_at() is not None:
                tries += 1
                with put_off(self._log, "roll over", UpstreamError, TimeoutError):
                    if (next_line := await self._prepare_next(line)) is not None:
                        raise _RolledOver(next_line.upstream, next_line)
                    if late:
                        raise _RolledOver(await self._dialling.once())
                # It was refused, or is not quiet any more: the server is not to be dialled for that again and again.
                await asyncio.sleep(rollover.wait_s(tries, window.at_latest - (_now() - begin)))
            await asyncio.sleep(rollover.LOOK_EVERY_S)

    def _expires_in_s(self, upstream: Upstream) -> float | None:
        expires_at = upstream.session.expires_at
        if expires_at is None:
            return dialects.longest_session_s(self._settings.openai_base_url)
        return expires_at - time.time()

    async def _prepare_next(self, line: Line) -> Line | None:
        """A line that knows all that was said, while the other one still serves; None when something is said meanwhile.

        What follows this must not wait for anything: the old line is left as it is now.
        """
        if (quiet_at := line.quiet_at()) is None:
            return None
        noted = line.noted
        rebuilt = await self._memory.recalled(quiet_at)
        rebuilt.goes_on = False
        next_line = self._line(await self._dialling.once(), self._conversation(rebuilt))
        is_prepared = False
        try:
            async with asyncio.timeout(PREPARE_WITHIN_S):
                await next_line.prepare()
        except Finished as refused:
            self._log.warning("a fresh socket will not do: %s", refused.reason)
            return None
        else:
            is_prepared = line.quiet_at() is not None and line.noted == noted
        finally:
            if not is_prepared:
                await next_line.close()
        if not is_prepared:
            return None
        line.fall_silent()
        # It goes on behind what it was told, some seconds ago: what was said since is said to it, most of it silence.
        next_line.conversation.know(line.conversation)
        return next_line


def _final(broke: UpstreamError) -> down.Failed:
    """What a client is told of a break that is not to be mended: its real reason, where it is one of the server's."""
    if broke.retryable:
        return down.Failed(code="upstream_lost", message=LOST)
    verdict = verdicts.of_hangup(broke, None) if isinstance(broke, UpstreamClosed) else broke
    return down.Failed(code=verdict.code, message=verdict.message)


def _now() -> float:
    return asyncio.get_running_loop().time()
