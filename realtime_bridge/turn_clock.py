"""A session's turns by the clock: their records kept in `turns`, logged, and put into the histograms.

What a turn is and when its record is whole is decided in `turn_times.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

from realtime_bridge import server_events as hear
from realtime_bridge.metrics import Metrics
from realtime_bridge.turn_times import STAGES, TurnTimes, stages
from runtime import traces
from runtime.logs import SessionLogger
from runtime.metrics import LONGEST_WAIT_S
from streams import pcm, timing, turns
from streams.errors import StreamError
from streams.hub import Hub
from streams.ids import EntryId
from streams.sessions import Session, now_ms

Outcome = Literal["heard", "unheard", "unanswered"]


class TurnClock:
    """One session's, as long as this bridge has it. Made in the loop; run `run` while it is bridged, then `close`."""

    def __init__(
        self,
        hub: Hub,
        session: Session,
        record: Callable[[turns.Timed], object],
        metrics: Metrics,
        log: SessionLogger,
    ) -> None:
        """`record` is called with what belongs to `turns`."""
        self._hub, self._session, self._record, self._metrics, self._log = hub, session, record, metrics, log
        self._times = TurnTimes()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: int | None = None

    async def run(self) -> None:
        """Hear what the client's gateway says, until cancelled."""
        channel = self._session.keys.control
        await self._hub.bus.subscribe(channel, self)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await self._hub.bus.unsubscribe(channel, self)

    def said(self, entry: EntryId, message: pcm.PcmMessage, since_us: int) -> None:
        """An entry of `pcm`, and when the client's part of it was there."""
        self._times.said(entry, message, since_us // 1000)

    def noted(self, note: turns.TurnsMessage) -> None:
        """What was noted of the conversation."""
        self._keep(self._times.noted(note, now_ms()))

    def from_model(self, event: hear.ServerEvent | hear.Unknown) -> None:
        """An event of the model's."""
        self._times.heard(event, now_ms())

    def close(self) -> None:
        """The session ends here: what is known of the last turn is all there will be."""
        self._keep(self._times.close())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ── from the bus ────────────────────────────────────────────────────────────────────────────────────────────────

    def heard(self, data: bytes) -> None:
        if (reached := timing.read(data)) is not None:
            self._keep(self._times.reached(reached, now_ms()))

    def missed(self) -> None:
        """A word may have been lost, which is not waited for."""

    # ── records ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _keep(self, closed: Sequence[turns.Timed]) -> None:
        for timed in closed:
            self._count(timed)
            try:
                self._record(timed)
            except StreamError as error:
                self._log.warning("how long a turn took could not be kept: %s", error)
        self._arm()

    def _count(self, timed: turns.Timed) -> None:
        took = stages(timed)
        outcome: Outcome = "heard" if timed.first_byte_ms is not None else "unheard"
        outcome = "unanswered" if timed.first_delta_ms is None else outcome
        self._metrics.turns.labels(outcome).inc()
        for stage, ms in took.items():
            if 0 <= ms <= LONGEST_WAIT_S * 1000:
                self._metrics.stage.labels(stage).observe(ms / 1000)
            else:
                self._metrics.skewed.labels(stage).inc()
        self._trace(timed, outcome)
        extra: dict[str, object] = {"item": timed.item, "response": timed.response}
        if timed.said_ms is not None and timed.first_byte_ms is not None:
            total_ms = timed.first_byte_ms - timed.said_ms
            if 0 <= total_ms <= LONGEST_WAIT_S * 1000:
                self._metrics.turn.observe(total_ms / 1000)
            extra["turn_ms"] = total_ms
        self._log.info("a turn was %s", outcome, extra=extra | {f"{stage}_ms": ms for stage, ms in took.items()})

    def _trace(self, timed: turns.Timed, outcome: Outcome) -> None:
        """The turn, and its stages in it."""
        marks = timed.said_ms, timed.committed_ms, timed.first_delta_ms, timed.first_byte_ms, timed.playback_ms
        known = [at_ms for at_ms in marks if at_ms is not None]
        if not known:
            return
        about = {"item": timed.item, "response": timed.response, "outcome": outcome}
        turn = traces.span(self._session.sid, "turn", min(known), max(known), about)
        if turn is not None:
            ends = dict(zip(STAGES, marks[1:], strict=True))
            for stage, ms in stages(timed).items():
                if (end_ms := ends[stage]) is not None:
                    traces.span(self._session.sid, stage, end_ms - ms, end_ms, parent=turn)

    def _arm(self) -> None:
        deadline_ms = self._times.deadline_ms
        if deadline_ms == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, deadline_ms
        if deadline_ms is not None:
            wait_s = max(0.0, (deadline_ms - now_ms()) / 1000)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._look)

    def _look(self) -> None:
        self._timer = self._timer_at = None
        self._keep(self._times.overdue(now_ms()))
