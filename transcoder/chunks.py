"""A session's stream of chunks on its way through a decoder child.

One decoder lives from a recording's first chunk to its last, whatever turns end meanwhile. It ends with the gen, with the
session, with a chunk that begins another recording, or with an error: then nothing comes of what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from streams.sources import is_chunked
from transcoder.decoded import BYTES_PER_SAMPLE, SAMPLE_RATE
from transcoder.errors import DecoderFailed, MediaError, TooFast, TooLarge, TooLong, UnsupportedMedia
from transcoder.limits import MAX_DECODED_S, MAX_FILE_BYTES, DecodedSeconds
from transcoder.progress import Progress
from transcoder.sniffer import begins_a_recording
from transcoder.stream import Heard, demuxer_for
from transcoder.stream_pool import DecodedStream, StreamPool

SLICE_BYTES = 64 << 10
"""A child is given so much at a time, so that a stream of a few hours in one chunk holds up no other."""

DAMAGE_MS = 21
"""What a damaged place is told as, whose length nobody knows: 1,024 samples at 48 kHz, a frame of AAC."""


@dataclass(slots=True)
class Sound:
    """What became of a chunk, or of a recording's end."""

    pcm: bytes = b""
    """PCM16 mono at SAMPLE_RATE"""
    missing_ms: int = 0
    """so much is missing, and stands in `pcm` as silence, as far as that is wanted"""
    error: MediaError | None = None
    """the stream ends behind `pcm`"""


class Chunks:
    """The chunks of the gens, one after the other. `progress` is told what the decoder knows.

    Every call raises DecoderFailed when a child died of it, or for another reason: then begin again at the checkpoint.
    """

    def __init__(
        self, pool: StreamPool | None, progress: Progress, bucket: DecodedSeconds, clock: Callable[[], float]
    ) -> None:
        self._pool, self._progress, self._bucket, self._clock = pool, progress, bucket, clock
        self._stream: DecodedStream | None = None

    def open(self, source: str) -> None:
        """A gen begins; the one before was closed. Raises UnsupportedMedia for a source that there is not."""
        self._progress.is_broken = False
        self._progress.stand(b"")
        if is_chunked(source):
            try:
                if self._pool is None:
                    raise UnsupportedMedia("this transcoder decodes no streams; send whole recordings")
                demuxer_for(source)
            except MediaError:
                self._progress.is_broken = True
                raise

    async def feed(self, chunk: bytes, *, charged: bool) -> list[Sound]:
        """The next chunk; nothing at all while the stream is broken. `charged`: it was taken from the bucket before."""
        sounds: list[Sound] = []
        if self._progress.source == "stream" and self._pool is not None and begins_a_recording(chunk):
            if self._progress.is_broken:
                self._progress.is_broken = False
            elif self._is_under_way:
                sounds.append(await self.close())
        if self._progress.is_broken or not chunk:
            return sounds
        if len(chunk) > MAX_FILE_BYTES:
            error = await self.end(TooLarge(len(chunk), MAX_FILE_BYTES))
            return [*sounds, Sound(error=error)]
        return [*sounds, await self._decode(chunk, charged=charged)]

    async def close(self) -> Sound:
        """The recording has ended: what was held back. Another one may begin."""
        sound = Sound()
        if self._is_under_way:
            goes_on = self._stream is None
            stream = self._opened()
            try:
                if goes_on:
                    await stream.feed(b"", max_seconds=MAX_DECODED_S)
                heard = await stream.close(max_seconds=MAX_DECODED_S)
                sound.pcm, sound.missing_ms = heard.pcm, round(1000 * heard.missing_s)
            except DecoderFailed:
                raise
            except MediaError as error:
                sound.error = error
        self._stream = None
        self._progress.stand(b"")
        return sound

    async def drop(self) -> None:
        """Nobody wants it any more."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.drop()

    @property
    def _is_under_way(self) -> bool:
        """Whether a recording has begun, here or with whoever had the session before."""
        return self._stream is not None or bool(self._progress.decoder)

    def _opened(self) -> DecodedStream:
        if self._stream is None:
            assert self._pool is not None
            self._stream = self._pool.open(self._progress.source, self._progress.decoder or b"")
        return self._stream

    async def _decode(self, chunk: bytes, *, charged: bool) -> Sound:
        stream, sound = self._opened(), Sound()
        keep = self._progress.feed(len(chunk))
        parts = list(self._slices(chunk))
        pcm, missing_s, damaged = [], 0.0, 0
        try:
            for n, part in enumerate(parts):
                most = MAX_DECODED_S if charged else self._bucket.available(self._clock())
                heard = await stream.feed(part, max_seconds=most, keep=keep and n == len(parts) - 1)
                self._charge(heard, charged=charged)
                pcm.append(heard.pcm)
                missing_s += heard.missing_s
                damaged += heard.damaged
            if stream.kept:
                self._progress.stand(stream.kept)
        except DecoderFailed:
            raise
        except MediaError as error:
            sound.error = await self.end(error)
        sound.pcm = b"".join(pcm)
        sound.missing_ms = round(1000 * missing_s) or damaged * DAMAGE_MS
        return sound

    def _slices(self, chunk: bytes) -> Iterator[bytes]:
        size = len(chunk) if self._progress.source == "opus" else SLICE_BYTES
        for at in range(0, len(chunk), size):
            yield chunk[at : at + size]

    def _charge(self, heard: Heard, *, charged: bool) -> None:
        if not charged:
            now = self._clock()
            seconds = len(heard.pcm) / BYTES_PER_SAMPLE / SAMPLE_RATE
            self._bucket.take(min(seconds, self._bucket.available(now)), now)

    async def end(self, error: MediaError) -> MediaError:
        """Nothing comes of this stream any more, for this reason; what the client is told."""
        await self.drop()
        self._progress.is_broken = True
        self._progress.stand(b"")
        return TooFast(MAX_DECODED_S) if isinstance(error, TooLong) else error
