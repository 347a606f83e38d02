"""❸ `up` → the decoder children or a resampler → `pcm`, and the recording.

What is made of an entry is named by that entry's id (`streams.ids.piece`) and cut at lengths that follow from the source
alone, so another worker that does the work again writes the same ids and is refused: it needs no lease, and nothing is lost
or doubled when one dies. Where to begin is told by a checkpoint (`streams.checkpoint`).

Pieces of an entry: audio is cut into pieces of a second, k from 0; a recording's end follows its audio. Every entry that is
not streamed PCM ends the utterance before it: then k = 0 is what its resampler had held back, if anything, and the entry's
own pieces follow. So N samples at one rate become N · 24000 / rate, rounded half up, however they came. A stream of chunks
(`transcoder.chunks`) goes on through all that; its decoder is in a child, and when that dies the work begins again at the
checkpoint, as after a takeover.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from runtime import traces
from runtime.logs import SessionLogger
from streams import checkpoint, pcm, turns, up
from streams.consumer import READ_AGAIN_AFTER_S, Consumer, Entry, last_id, read, read_back
from streams.errors import Over, Replaced, StreamUnavailable, Wanted
from streams.hub import Hub
from streams.ids import ZERO, EntryId, piece
from streams.messages import Clear, ClientEvent, Commit, End, Instructions, Message, SetPersona, Text
from streams.producer import Assigned, Producer
from streams.sessions import Session, now_ms
from streams.sources import is_chunked
from transcoder.chunks import Chunks, Sound
from transcoder.continuous import ContinuousResampler
from transcoder.decoded import BYTES_PER_SAMPLE, SAMPLE_RATE
from transcoder.errors import DecoderFailed, MediaError, TooLong, UnsupportedMedia
from transcoder.framer import cut
from transcoder.limits import DecodedSeconds
from transcoder.losses import has_lost
from transcoder.metrics import Metrics
from transcoder.progress import Progress
from transcoder.rates import MAX_PCM_RATE, MIN_PCM_RATE
from transcoder.recording import Recording, Recordings
from transcoder.sandbox import DecoderPool
from transcoder.stream_pool import Lost, StreamPool

LOST_PACKET_MS = 21
"""What a damaged packet is told as: 1,024 samples at 48 kHz, a frame of AAC."""

PIECE_SAMPLES = SAMPLE_RATE
"""Audio is cut into entries of one second."""

MAX_DEATHS = 3
"""Decoder children that an entry may cost: then it is to blame, and its stream ends. One may have died of another's."""


_DEADLY = "the server cannot decode this recording; begin a new one"


class _BeginAgain(Exception):
    """The child is gone that knew the stream, or the server has lost what was made: go on where the checkpoint is, as if
    another worker had died."""


class UplinkTranscoder:
    """One session's way up. `stays`: whether to go on after the client's `End`, until `up` is gone."""

    def __init__(
        self,
        session: Session,
        hub: Hub,
        pool: DecoderPool,
        recordings: Recordings | None,
        log: SessionLogger,
        *,
        stays: Callable[[], bool],
        streams: StreamPool | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._metrics = metrics or Metrics()
        self._session, self._hub, self._pool, self._log, self._stays = session, hub, pool, log, stays
        self._recordings = recordings
        self._recording: Recording | None = None
        self._ids = Assigned()
        self._pcm = Producer(hub.writer, session.keys.pcm, self._ids)
        self._entries: Consumer[up.UpMessage] | None = None
        self._bucket = DecodedSeconds(self._now())
        self._progress = Progress(checkpoint.START)
        self._stream_pool = streams
        self._chunks = Chunks(streams, self._progress, self._bucket, self._now)
        self._charged = ZERO
        """the last entry whose decoded seconds were counted"""
        self._since_us = 0
        """when the entry that is transcoded was said"""
        self._said_ms: int | None = None
        """the same by the server's clock, where the session may be recorded"""
        self._deaths = (ZERO, 0)
        """the last entry that a decoder child died of, and how many did"""
        self._there = ZERO
        """the last piece in `pcm` when this worker began: up to it the work is done again, but not written"""
        self._resampler: ContinuousResampler | None = None
        """of the utterance that goes on; made when its next audio comes"""

    async def run(self) -> None:
        """Transcode until the client's `End`, or until `up` is gone. Raises Replaced, StreamUnavailable."""
        try:
            await self._open_recording()
            while not await self._follow():
                pass
        except Over:
            self._log.info("the session's streams are gone")
        finally:
            if self._recording is not None:
                await self._recording.close()
            await self._chunks.drop()

    async def _follow(self) -> bool:
        """Go on behind the checkpoint, until there is nothing more to do; False when that has to be done once more."""
        hub, k = self._hub, self._session.keys
        begin = await self._begin()
        if await self._is_at_its_end():
            return True
        async with Consumer(hub.redis, hub.bus, k.up, up.decoder, after=begin) as entries:
            self._entries = entries
            entries.on_wait = self._metrics.up_wait
            last, reads = begin, 0
            while not await has_lost(hub.redis, k.pcm, self._ids.last):
                async for entry in entries:
                    if entries.reads != reads:
                        reads = entries.reads
                        await self._check_for_a_hole(last)
                    last, self._since_us, self._said_ms = entry.id, entries.since_us, entry.at_ms or None
                    try:
                        await self._transcode(entry)
                        await self._pcm.flush()
                    except _BeginAgain:
                        self._log.warning("a decoder child is gone; its stream goes on in another one")
                        return False
                    except Wanted:
                        return self._lost_work()
                    self._progress.done(entry.id)
                    await self._save()
                    if isinstance(entry.message, End) and not self._stays():
                        return True
        return self._lost_work()

    def _lost_work(self) -> bool:
        self._log.warning("Redis has lost what was made of the client's speech; it is made again")
        return False

    def doubt(self) -> None:
        """The server may not have all any more that was written to it: look, when there is nothing else to do."""
        if self._entries is not None:
            self._entries.leave()

    async def _begin(self) -> EntryId:
        """Where the transcoder before this one stood; the entry of `up` to go on behind."""
        hub, k = self._hub, self._session.keys
        redis = hub.redis
        start = await checkpoint.load(redis, self._session)
        self._progress, self._resampler = Progress(start), None
        await self._chunks.drop()
        self._chunks = Chunks(self._stream_pool, self._progress, self._bucket, self._now)
        there = await last_id(redis, k.pcm)
        if there is None:
            raise Over(k.pcm)
        self._there, self._ids = there, Assigned(there)
        self._pcm = Producer(hub.writer, k.pcm, self._ids)
        return start.entry

    async def _is_at_its_end(self) -> bool:
        """Whether the transcoder before this one has written the client's `End`: nothing more will come. Of a recording some
        may be missing in the file yet."""
        if self._stays() or self._recording is not None:
            return False
        latest = await read_back(self._hub.redis, self._session.keys.pcm, pcm.decoder, upto=self._there, count=1)
        return bool(latest) and isinstance(latest[0].message, End)

    async def _open_recording(self) -> None:
        if self._recordings is None:
            return
        redis, k = self._hub.redis, self._session.keys
        start = await checkpoint.load(redis, self._session)
        opened = await read(redis, k.turns, turns.decoder, count=1)
        stem = opened[0].message.record if opened and isinstance(opened[0].message, turns.Opened) else None
        if stem is not None and turns.is_file_stem(stem):
            self._recording = Recording(self._recordings, stem, self._log, on_disk=start.recorded)
        elif stem is not None:
            self._log.error("the recording that was asked for has no usable name, and is not kept")

    async def _check_for_a_hole(self, last: EntryId) -> None:
        """What follows `last` may be gone: another worker has done it, while this one was stopped. Then that one goes on."""
        for pause in (*READ_AGAIN_AFTER_S, None):
            try:
                kept = await checkpoint.load(self._hub.redis, self._session)
                break
            except StreamUnavailable:
                if pause is None:
                    raise
                await asyncio.sleep(pause)
        if kept.entry > last:
            raise Replaced(self._session.keys.up, kept.entry)

    async def _save(self) -> None:
        on_disk = None if self._recording is None else self._recording.on_disk
        found = self._progress.checkpoint(on_disk)
        if found is None:
            return
        try:
            await checkpoint.save(self._hub.redis, self._session, found)
        except StreamUnavailable as error:
            self._log.warning("what is done could not be trimmed, and will be with the next: %s", error)

    async def _transcode(self, entry: Entry[up.UpMessage]) -> None:
        match entry.message:
            case up.Audio(audio=audio):
                self._append(entry.id, self._speech(audio[: len(audio) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE]))
            case up.Chunk(data=data):
                self._append(entry.id, await self._chunk(entry.id, data))
            case up.File() as file:
                rest = self._end_utterance()
                self._append(entry.id, [*rest, *await self._file(entry.id, file)])
            case up.GenOpened() as opened:
                rest = [*self._end_utterance(), *await self._end_stream(entry.id)]
                self._append(entry.id, [*rest, opened, *self._new_source(opened.source)])
            case End() as end:
                rest = [*self._end_utterance(), *await self._end_stream(entry.id)]
                if self._recording is not None:  # before anybody can know that this was the end
                    await self._recording.close()
                self._append(entry.id, [*rest, end])
            case up.UtteranceEnd() | Commit() | Clear() | Text() | Instructions() | SetPersona() | ClientEvent() as control:
                self._append(entry.id, [*self._end_utterance(), control])

    # ── streamed PCM ────────────────────────────────────────────────────────────────────────────────────────────────

    def _new_source(self, source: str) -> list[Message]:
        self._progress.source = source
        try:
            self._chunks.open(source)
        except UnsupportedMedia as error:
            self._metrics.refused.labels(error.code).inc()
            return [pcm.MediaError(code=error.code, message=str(error))]
        if self._progress.rate is not None:
            return []
        self._log.error("a gateway has opened a source that is not taken: %s", source[:40])
        told = f"raw PCM is taken at {MIN_PCM_RATE} to {MAX_PCM_RATE} Hz; record at one of these rates"
        return [pcm.MediaError(code=UnsupportedMedia.code, message=told)]

    def _speech(self, audio: bytes) -> list[Message]:
        progress = self._progress
        if (rate := progress.rate) is None:
            return []
        if self._resampler is None:
            self._resampler = ContinuousResampler(rate, SAMPLE_RATE, progress.position)
        self._record(progress.take(len(audio) // BYTES_PER_SAMPLE), audio, rate)
        return self._audio(self._resampler.feed(audio))

    def _record(self, offset: int | None, audio: bytes, rate: int) -> None:
        if self._recording is None:
            return
        if offset is not None:
            self._recording.add(offset, audio, rate)
        else:
            self._recording.refuse(rate)

    def _end_utterance(self) -> list[Message]:
        """What its resampler held back. The next speech begins a fresh phase."""
        resampler, self._resampler = self._resampler, None
        self._progress.end_utterance()
        return [] if resampler is None else self._audio(resampler.flush())

    # ── streams of chunks ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _chunk(self, entry: EntryId, data: bytes) -> list[Message]:
        if not is_chunked(self._progress.source):
            self._log.error("a chunk has come where none belongs: in a gen of %s", self._progress.source[:40])
            return []
        charged = entry <= self._charged
        self._charged = max(self._charged, entry)
        try:
            return self._sounds(await self._chunks.feed(data, charged=charged))
        except DecoderFailed as error:
            return self._sounds([await self._lost(entry, error)])

    async def _end_stream(self, entry: EntryId) -> list[Message]:
        try:
            return self._sounds([await self._chunks.close()])
        except DecoderFailed as error:
            return self._sounds([await self._lost(entry, error)])

    async def _lost(self, entry: EntryId, error: DecoderFailed) -> Sound:
        """Begin again, unless this entry has cost enough of them."""
        before, deaths = self._deaths
        deaths = deaths if entry == before else 0
        deaths += not isinstance(error, Lost) or error.at_work
        self._deaths = entry, deaths
        if deaths < MAX_DEATHS:
            raise _BeginAgain from error
        self._log.warning("%d decoder children have died of one entry, and its stream ends", deaths)
        return Sound(error=await self._chunks.end(DecoderFailed(_DEADLY)))

    def _sounds(self, sounds: list[Sound]) -> list[Message]:
        made: list[Message] = []
        for sound in sounds:
            if sound.pcm:
                offset = self._progress.record(len(sound.pcm) // BYTES_PER_SAMPLE, SAMPLE_RATE)
                self._record(offset, sound.pcm, SAMPLE_RATE)
            made += self._audio(sound.pcm)
            if sound.missing_ms > 1:
                made.append(pcm.Gap(missing_ms=sound.missing_ms, filled=True))
            if sound.error is not None:
                self._metrics.refused.labels(sound.error.code).inc()
                self._log.info("a stream has ended: %s", sound.error.code)
                made.append(pcm.MediaError(code=sound.error.code, message=str(sound.error)))
        return made

    # ── whole recordings ────────────────────────────────────────────────────────────────────────────────────────────

    async def _file(self, entry: EntryId, file: up.File) -> list[Message]:
        begun_ms = now_ms()
        is_charged = entry <= self._charged
        self._charged = max(self._charged, entry)
        max_seconds = self._bucket.capacity_s if is_charged else self._bucket.available(self._now())
        try:
            with self._metrics.decode.time():
                decoded = await self._pool.decode_file(file.data, max_seconds=max_seconds)
        except TooLong as error:
            self._metrics.refused.labels(error.code).inc()
            wait_s = self._bucket.wait_s(error.found_s, self._now())
            self._log.info("a recording was refused: %s", error.code, extra={"bytes": len(file.data)})
            return [pcm.MediaError(code=error.code, message=str(error.fits_in(wait_s)))]
        except MediaError as error:
            self._metrics.refused.labels(error.code).inc()
            self._log.info("a recording was refused: %s", error.code, extra={"bytes": len(file.data)})
            return [pcm.MediaError(code=error.code, message=str(error))]
        info = decoded.source
        about: dict[str, traces.Value] = {"container": info.container, "codec": info.codec, "bytes": len(file.data)}
        traces.span(self._session.sid, "decode", begun_ms, now_ms(), about)
        samples = len(decoded.pcm) // BYTES_PER_SAMPLE
        if not is_charged:
            self._bucket.take(decoded.source.duration_s, self._now())
        what = f"{info.container} {info.codec} {info.sample_rate} Hz {info.channels} ch"
        missing_ms = round(1000 * (info.duration_s - samples / SAMPLE_RATE))
        missing_ms = max(missing_ms, 0) + decoded.lost_packets * LOST_PACKET_MS
        damage = [pcm.Gap(missing_ms=missing_ms)] if missing_ms > 1 else []
        end = up.UtteranceEnd(samples=samples, arrived_ms=file.arrived_ms, source=what)
        return [*self._audio(decoded.pcm), end, *damage]

    # ── pieces ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _audio(self, made: bytes) -> list[Message]:
        make, said_ms = self._progress.make, self._said_ms
        return [pcm.Audio(part, make(len(part) // BYTES_PER_SAMPLE), said_ms) for part in cut(made, PIECE_SAMPLES)]

    def _append(self, source: EntryId, pieces: list[Message]) -> None:
        for k, message in enumerate(pieces):
            if (entry_id := piece(source, k)) > self._there:
                self._ids.assign(self._pcm.next_number, entry_id)
                self._pcm.append(message, since_us=self._since_us or None)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
