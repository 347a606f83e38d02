"""The transcoder's Redis side: `up` → the decoder children → `pcm`.

What it makes of an entry is named by that entry's id (`streams.ids.piece`) and cut at fixed lengths, so another worker that
does the work again writes the same ids and is refused: it needs no lease, and nothing is lost or doubled when one dies.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runtime.logs import SessionLogger
from streams import pcm, up
from streams.consumer import Consumer, Entry
from streams.errors import Over, Replaced, StreamUnavailable
from streams.hub import Hub
from streams.ids import EntryId, piece
from streams.messages import Clear, ClientEvent, Commit, End, Message, SetPersona, Text
from streams.producer import Assigned, Producer
from streams.sessions import Session
from streams.trim import trim
from transcoder.decoded import BYTES_PER_SAMPLE, SAMPLE_RATE
from transcoder.errors import MediaError, TooLong
from transcoder.framer import cut
from transcoder.limits import DecodedSeconds
from transcoder.sandbox import DecoderPool

logger = logging.getLogger(__name__)

LOST_PACKET_MS = 21
"""What a damaged packet is told as: 1,024 samples at 48 kHz, a frame of AAC."""

PIECE_SAMPLES = SAMPLE_RATE
"""A whole recording is cut into entries of one second."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What all sessions of a transcoder process share."""

    hub: Hub
    pool: DecoderPool


class SessionTranscoder:
    """Turns one session's `up` into `pcm`."""

    def __init__(self, session: Session, resources: Resources) -> None:
        self._session, self._r = session, resources
        self._log = SessionLogger(logger, session.sid)
        self._ids = Assigned()
        self._pcm = Producer(resources.hub.writer, session.keys.pcm, self._ids)
        self._bucket = DecodedSeconds(self._now())
        self._offset: int | None = None
        """samples that were made before the next piece; None: to be looked up, somebody else may have made some"""
        self._task: asyncio.Task[Any] | None = None
        self._stopped = False

    @property
    def holds(self) -> bool:
        """Always: work that is done twice is refused once."""
        return True

    @property
    def is_busy(self) -> bool:
        """Always."""
        return True

    async def run(self) -> bool:
        """Transcode until the session ends; True then."""
        self._task = asyncio.current_task()
        k, hub = self._session.keys, self._r.hub
        try:
            async with Consumer(hub.redis, hub.bus, k.up, up.decoder) as entries:
                async for entry in entries:
                    await self._transcode(entry)
                    await self._pcm.flush()
                    await self._trim(entry.id)
                    if isinstance(entry.message, End):
                        break
        except Over:
            self._log.info("the session's streams are gone")
        except Replaced:
            self._log.warning("a newer gen has overtaken this transcoder's work")
            return False
        except asyncio.CancelledError:
            if not self._stopped:
                raise
            return False
        return True

    def leave(self) -> None:
        """Leave off. What is not done stays in `up` for whoever comes next."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()

    async def _trim(self, done: EntryId) -> None:
        try:
            await trim(self._r.hub.redis, self._session.keys.up, done)
        except StreamUnavailable as error:
            self._log.warning("what is done could not be trimmed, and will be with the next: %s", error)

    async def _transcode(self, entry: Entry[up.UpMessage]) -> None:
        match entry.message:
            case up.File() as file:
                await self._file(entry.id, file)
            case up.Audio(audio=audio):
                self._append(entry.id, [pcm.Audio(audio, offset=await self._advance(entry.id, audio))])
            case up.GenOpened() | up.UtteranceEnd() | Commit() | Clear() | Text() | SetPersona() | ClientEvent() | End():
                self._append(entry.id, [entry.message])

    async def _file(self, source: EntryId, file: up.File) -> None:
        try:
            decoded = await self._r.pool.decode_file(file.data, max_seconds=self._bucket.available(self._now()))
        except TooLong as error:
            wait_s = self._bucket.wait_s(error.found_s, self._now())
            self._log.info("a recording was refused: %s", error.code, extra={"bytes": len(file.data)})
            self._append(source, [pcm.MediaError(code=error.code, message=str(error.fits_in(wait_s)))])
            return
        except MediaError as error:
            self._log.info("a recording was refused: %s", error.code, extra={"bytes": len(file.data)})
            self._append(source, [pcm.MediaError(code=error.code, message=str(error))])
            return
        samples = len(decoded.pcm) // BYTES_PER_SAMPLE
        self._bucket.take(decoded.source.duration_s, self._now())
        audio = [pcm.Audio(part, offset=await self._advance(source, part)) for part in cut(decoded.pcm, PIECE_SAMPLES)]
        info = decoded.source
        what = f"{info.container} {info.codec} {info.sample_rate} Hz {info.channels} ch"
        missing_ms = round(1000 * (info.duration_s - samples / SAMPLE_RATE))
        missing_ms = max(missing_ms, 0) + decoded.lost_packets * LOST_PACKET_MS
        damage = [pcm.Gap(missing_ms=missing_ms)] if missing_ms > 1 else []
        end = up.UtteranceEnd(samples=samples, arrived_ms=file.arrived_ms, source=what)
        self._append(source, [*audio, end, *damage])

    async def _advance(self, source: EntryId, audio: bytes) -> int:
        """The absolute offset of this audio, and count it."""
        if self._offset is None:
            self._offset = await self._offset_before(source)
        offset = self._offset
        self._offset += len(audio) // BYTES_PER_SAMPLE
        return offset

    async def _offset_before(self, source: EntryId) -> int:
        """Where the pieces that were made before this source end: after a takeover they are another worker's."""
        before = piece(source, 0)
        page = await self._r.hub.redis.xrevrange(self._session.keys.pcm, max=f"({before}")
        for _, fields in page or ():
            if fields and b"offset" in fields and b"audio" in fields:
                return int(fields[b"offset"]) + len(fields[b"audio"]) // BYTES_PER_SAMPLE
        return 0

    def _append(self, source: EntryId, pieces: Sequence[Message]) -> None:
        for k, message in enumerate(pieces):
            self._ids.assign(self._pcm.next_number, piece(source, k))
            self._pcm.append(message)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
