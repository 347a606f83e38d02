"""One session's money: what the model tells of goes on the bill, the bill to Redis, and the limits are looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from redis.asyncio import Redis

from realtime_bridge import server_events as hear
from realtime_bridge.budget import Budget, Idleness, Limits, Stop, Verdict, nano_usd
from realtime_bridge.client_events import ResponseCancel, encode
from realtime_bridge.errors import UpstreamError
from realtime_bridge.latency import AnswerLatency
from realtime_bridge.prices import Prices
from realtime_bridge.rebuild import Rebuilt
from realtime_bridge.settings import BridgeSettings
from realtime_bridge.upstream import Upstream
from realtime_bridge.usage import Bill, Meter
from runtime.errors import SettingsError
from runtime.logs import SessionLogger
from streams import accounts, pcm, turns
from streams.errors import StreamUnavailable
from streams.sessions import Session, now_ms
from streams.usage import Spent, by_day, day_of

BUILT_IN = Path(__file__).with_name("prices.json")

KEEP_EVERY_S = 60.0
"""A session's minutes count to its user's day at least so often."""

LAST_BILL_S = 1.0
"""How long a socket that is given up is listened to, for what the last answer has cost."""


def load_prices(path: Path | None) -> Prices:
    """The built-in list; what the file at `path` says goes above it, model by model. Raises SettingsError."""
    built_in = BUILT_IN.read_bytes()
    if path is None:
        return Prices.parse(built_in)
    try:
        return Prices.parse(built_in, path.read_bytes())
    except OSError as error:
        raise SettingsError(f"PARLEY_PRICES is not usable: {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise SettingsError(f"PARLEY_PRICES is not usable: {path} is no list of prices: {error}.") from error


def limits_of(settings: BridgeSettings) -> Limits:
    """As the budget counts: 0 is none."""
    return Limits(
        session_nano_usd=nano_usd(settings.max_session_usd) or None,
        session_ms=round(settings.max_session_s * 1000) or None,
        day_nano_usd=nano_usd(settings.max_user_day_usd) or None,
        day_ms=round(settings.max_user_day_minutes * 60_000) or None,
        idle_ms=round(settings.idle_stop_s * 1000) or None,
    )


class Accounting:
    """Of one session, as long as this bridge has it.

    `record` is called with what belongs to `turns`, `tell` with what follows from the limits.
    """

    def __init__(
        self,
        redis: Redis,
        session: Session,
        settings: BridgeSettings,
        prices: Prices,
        log: SessionLogger,
        rebuilt: Rebuilt,
        record: Callable[[turns.Used], object],
        tell: Callable[[Verdict], None],
    ) -> None:
        now = now_ms()
        self._bill = Bill(prices, rebuilt.used)
        self._models = settings.openai_realtime_model, settings.transcription_model
        self._redis, self._session, self._user, self._log = redis, session, rebuilt.opened.user, log
        self._started_ms = rebuilt.started_ms or now
        limits = limits_of(settings)
        self._budget, self._idleness = Budget(limits, self._started_ms), Idleness(limits, now)
        self._latency = AnswerLatency()
        self._record, self._tell = record, tell
        self._today = Spent()
        """by the user, as far as it was last known"""
        self._kept: dict[str, Spent] = {}
        self._due = asyncio.Event()
        self._is_over = False
        """a limit is reached, and the session is told to end"""
        self._said_unpriced: set[str] = set()
        self._note(Meter(self._bill, *self._models).lost(rebuilt.untold, now))  # with the bridge before

    @property
    def started_ms(self) -> int:
        """When the session began, by Unix time."""
        return self._started_ms

    def metered(self, upstream: Upstream) -> Metered:
        """A fresh upstream socket."""
        meter = Meter(self._bill, *self._models)
        meter.heard(upstream.created.event, now_ms())
        return Metered(self, upstream, meter)

    def said(self, message: pcm.PcmMessage) -> None:
        """An entry of `pcm`."""
        self._idleness.said(message, now_ms())

    def heard(self, meter: Meter, event: hear.ServerEvent | hear.Unknown) -> None:
        """An event of the model's, on one of its sockets."""
        now = now_ms()
        self._idleness.heard(event, now)
        self._latency.heard(event, now)
        self._note(meter.heard(event, now))

    def closed(self, meter: Meter) -> None:
        """A socket is no more."""
        now = now_ms()
        self._idleness.socket_closed(now)
        self._note(meter.closed(now))

    def _note(self, used: list[turns.Used]) -> None:
        for model in self._bill.unpriced - self._said_unpriced:
            self._said_unpriced.add(model)
            self._log.warning("there is no price for %s: its tokens are counted, its dollars are not", model)
        for entry in used:
            self._record(entry)
            self._due.set()

    async def run(self) -> None:
        """Keep the books and look at the limits, as long as the session lasts."""
        while True:
            now = now_ms()
            moments = [] if self._is_over else [self._budget.next_look(now), self._idleness.ends_at(now)]
            waits = [KEEP_EVERY_S, *(max(0.01, (moment - now) / 1000) for moment in moments if moment is not None)]
            try:
                async with asyncio.timeout(min(waits)):
                    await self._due.wait()
            except TimeoutError:
                pass
            self._due.clear()
            await self.look()

    async def look(self) -> None:
        """Once; nothing more is told after an end."""
        await self.keep()
        if self._is_over:
            return
        now = now_ms()
        for verdict in (*self._budget.look(now, self._bill.sum.nano_usd, self._today), *self._idleness.look(now)):
            self._log.info("a limit is near, or reached: %s", verdict[0])
            self._is_over = isinstance(verdict, Stop)
            self._tell(verdict)
            if self._is_over:
                return

    async def keep(self) -> None:
        """Write what the session has spent; what Redis does not take now it takes the next time."""
        now = now_ms()
        today = day_of(now)
        try:
            for day, spent in by_day(self._bill.entries, self._started_ms, now).items():
                if spent != self._kept.get(day) or day == today:
                    kept = await accounts.keep(self._redis, self._user, self._session, day, spent)
                    self._kept[day] = spent
                    if day == today:
                        self._today = kept
            ms = now - self._started_ms
            await accounts.show(self._redis, self._session, self._bill.sum, ms, latency_ms=self._latency.ms)
        except StreamUnavailable as error:
            self._log.warning("what the session has cost could not be written: %s", error)


class Metered:
    """One upstream socket, from the first event to the last that says what was used on it."""

    def __init__(self, accounting: Accounting, upstream: Upstream, meter: Meter) -> None:
        self._accounting, self._upstream, self._meter = accounting, upstream, meter

    def heard(self, event: hear.ServerEvent | hear.Unknown) -> None:
        """Before anything else is done about it."""
        self._accounting.heard(self._meter, event)

    async def hear_out(self) -> None:
        """The socket is given up, or broken: what runs is cancelled, and what all of it has cost is still listened to.

        To be awaited before it is closed, by its only reader, not longer than LAST_BILL_S.
        """
        with suppress(TimeoutError, UpstreamError):
            async with asyncio.timeout(LAST_BILL_S):
                with suppress(UpstreamError):  # a broken socket may still hold what came before it broke
                    for response in self._meter.running:
                        await self._upstream.send(encode(ResponseCancel(response_id=response)))
                while not self._meter.settled:
                    self.heard((await anext(self._upstream)).event)
        self._accounting.closed(self._meter)
