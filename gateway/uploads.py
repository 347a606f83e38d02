"""❷ What clients say in requests of their own, a few dozen a second and each with a bit of audio → `up`.

Such a client has no connection that stands for it. So what a request needs is kept here from one to the next (a `Lane`), and
an upload in the middle of many costs one round trip to Redis. Lanes are a cache: any gateway makes its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from secrets import token_hex

import msgspec

from gateway.backend import Backend
from gateway.errors import InvalidRequest, NoSuchSession, NotNow
from gateway.latency import Latencies
from gateway.metrics import Metrics
from gateway.records import Record, Records
from runtime.logs import SessionLogger
from streams import turns, up
from streams.attach import ATTACH_RENEW_S, Attachment
from streams.dispatch import hand_out, is_handed_out
from streams.errors import Over, StreamError, StreamUnavailable
from streams.heard import open_heard
from streams.kept import UNSPOKEN
from streams.keys import RENEW_S, new_sid
from streams.messages import End
from streams.producer import Marked, Producer
from streams.sessions import Session

logger = logging.getLogger(__name__)

MAX_LANES = 4_096
"""Sessions that are uploaded to at this gateway, and remembered. Past it the one that has rested longest is forgotten."""

IDLE_S = 30.0
"""A lane that has rested for so long is forgotten."""

TRIES = 3
"""Sessions that may turn out to have ended, one after the other, before an upload is given up."""

STOPPED = "client_stopped"
"""Why a session ends whose client says that it is done: nothing more of it is played."""


@dataclass(slots=True)
class Lane:
    """What an upload needs."""

    record: Record
    session: Session
    producer: Producer
    attachment: Attachment
    log: logging.LoggerAdapter[logging.Logger]
    used_at: float
    present_from: float
    """when to say next that the client is there"""
    renewed_at: float
    latencies: Latencies = field(default_factory=Latencies)
    reported: int = 0


class Uploads:
    """All lanes of this process. Its calls raise not_found(), InvalidRequest and NotNow."""

    def __init__(self, backend: Backend, metrics: Metrics, door: str) -> None:
        self._backend, self._metrics, self._door = backend, metrics, door
        self.records = Records(backend.redis)
        self._lanes: OrderedDict[str, Lane] = OrderedDict()
        self._opening: set[asyncio.Task[Lane]] = set()

    async def record(self, user: str, record_id: str) -> Record:
        """The record of this user's with this id; of one that is uploaded to here as it was some seconds ago."""
        if (lane := self._lanes.get(record_id)) is not None and lane.record.user == user:
            return lane.record
        try:
            record = await self.records.get(user, record_id)
        except StreamUnavailable as error:
            raise _not_now(error) from error
        if record is None:
            raise not_found()
        return record

    def lane(self, record_id: str) -> Lane | None:
        """Of a session that is uploaded to here."""
        return self._lanes.get(record_id)

    async def append(self, record: Record, audio: bytes, rate: int) -> Lane:
        """Store this speech in the record's session, and open one if there is none. `rate` in Hertz."""
        for _ in range(TRIES):
            lane = self._lanes.get(record.id) or await self._open(record, rate)
            if lane.record.sample_rate != rate:
                raise InvalidRequest(
                    f"This session's audio has {lane.record.sample_rate} Hz, not {rate}. Stop the stream to change it."
                )
            try:
                stored = lane.producer.append(up.Audio(audio) if lane.record.input_format == "pcm16" else up.Chunk(audio))
                await self._tend(lane)
                await stored
            except Over:
                self.forget(record.id)
                record = await self._after(lane)
            except StreamError as error:
                self.forget(record.id)  # a producer that has failed stays failed
                raise _not_now(error) from error
            else:
                return lane
        raise NotNow

    async def stop(self, record: Record) -> None:
        """End the record's session, if it has one: behind all that was said, and its recording with it."""
        backend, lane = self._backend, self._lanes.pop(record.id, None)
        try:
            if lane is not None:
                await self._report(lane)
            session = await backend.sessions.find(record.user, record.id)
            if session is None:
                return
            if await is_handed_out(backend.redis, session, "bridge"):
                await Producer(backend.writer, session.keys.up, Marked(new_sid())).append(End(STOPPED))
                await backend.sessions.forget_name(session)  # whoever comes back talks in a new one
            else:
                await backend.sessions.end(session, reason=UNSPOKEN, linger_ms=0)
        except Over:
            pass
        except StreamError as error:
            raise _not_now(error) from error

    def forget(self, record_id: str) -> None:
        """The next upload looks anew."""
        self._lanes.pop(record_id, None)

    async def _open(self, record: Record, rate: int) -> Lane:
        """To its end, also when the client hangs up meanwhile: else there would be a session that nobody has."""
        opening = asyncio.create_task(self._make_lane(record, rate), name=f"gateway.uploads {record.id}")
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        try:
            return await asyncio.shield(opening)
        except StreamError as error:
            raise _not_now(error) from error

    async def _make_lane(self, record: Record, rate: int) -> Lane:
        backend = self._backend
        session = await backend.sessions.find(record.user, record.id)
        if session is None:
            if record.closed:
                raise not_found()
            record = await set_rate(self.records, record, rate)
            creation = await backend.sessions.create(opening(record, self._door), record.id, source=source(record))
            session = creation.session
            if creation.created:
                if record.recorded_by is not None:
                    await open_heard(backend.redis, session, record.recorded_by)
                self._metrics.sessions.labels(self._door).inc()
        for role in ("bridge", "transcoder"):
            await hand_out(backend.redis, session, role)
        now = time.monotonic()
        lane = Lane(
            record,
            session,
            Producer(backend.writer, session.keys.up, Marked(new_sid())),
            Attachment(backend.redis, session, backend.name),
            SessionLogger(logger, session.sid),
            used_at=now,
            present_from=now,
            renewed_at=now,
        )
        self._make_room(now)
        self._lanes[record.id] = lane
        lane.log.info("a client of the %s door uploads here", self._door)
        return lane

    def _make_room(self, now: float) -> None:
        while self._lanes:
            oldest = next(iter(self._lanes.values()))
            if len(self._lanes) < MAX_LANES and now - oldest.used_at < IDLE_S:
                break
            self._lanes.popitem(last=False)

    async def _after(self, lane: Lane) -> Record:
        """The record, as it is now that the lane's session is over."""
        try:
            await self._backend.sessions.forget_name(lane.session)
            record = await self.records.get(lane.record.user, lane.record.id)
        except StreamUnavailable as error:
            raise _not_now(error) from error
        if record is None:
            raise not_found()
        return record

    async def _tend(self, lane: Lane) -> None:
        """Now and then: whoever speaks is there, also while nobody listens; and what is in use lives on."""
        now = time.monotonic()
        lane.used_at = now
        self._lanes.move_to_end(lane.record.id)
        if now < lane.present_from:
            return
        lane.present_from = now + ATTACH_RENEW_S
        try:
            if not await lane.attachment.renew():
                await lane.attachment.attach(take=False)  # refused when somebody listens: then that counts
            await self._report(lane)
            if now - lane.renewed_at >= RENEW_S:
                lane.renewed_at = now
                await self._backend.sessions.renew(lane.session)
                await self.records.change(lane.record, {})
        except StreamUnavailable as error:
            lane.log.warning("the session could not be renewed: %s", error)

    async def _report(self, lane: Lane) -> None:
        if lane.reported != lane.latencies.count and (report := lane.latencies.report()) is not None:
            lane.reported = lane.latencies.count
            await self.records.change(lane.record, {"latency": msgspec.json.encode(report)})


def source(record: Record) -> str:
    """What `up` holds; see `up.GenOpened`."""
    return f"pcm16 {record.sample_rate}" if record.input_format == "pcm16" else record.input_format


def opening(record: Record, door: str) -> turns.Opened:
    """How a session is opened for this record."""
    stem = f"{door}_{time.strftime('%Y%m%d_%H%M%S', time.gmtime())}_{record.id[:8]}_{token_hex(2)}"
    coded = None if record.input_format == "pcm16" else record.input_format
    return turns.Opened(record.user, door, turn_mode="server_vad", input=coded, record=stem, recorded_by=record.recorded_by)


async def set_rate(records: Records, record: Record, rate: int) -> Record:
    """A session begins with this rate, whatever the record said. Raises StreamUnavailable, NoSuchSession."""
    changed = await records.change(record, {} if record.sample_rate == rate else {"sample_rate": rate})
    if changed is None:
        raise not_found()
    return changed


def not_found() -> NoSuchSession:
    """In the words of the contract."""
    return NoSuchSession("session not found")


def _not_now(error: StreamError) -> NotNow:
    logger.warning("what a client said or asked for could not be done: %s", error)
    return NotNow()
