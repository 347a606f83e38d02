"""Streams in decoder children: each child holds many, each stream lives in one, and nobody waits for a long file.

A child does one chunk at a time, some tenths of a millisecond each. When it dies or hangs, all its streams are `Lost`:
whoever feeds them opens a new one, in another child, with what was kept of it.
"""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType

from transcoder import wire
from transcoder.child_process import Child, ChildDied
from transcoder.decoded import BYTES_PER_SAMPLE, SAMPLE_RATE
from transcoder.errors import DecoderFailed
from transcoder.lifetime import USUAL, Lifetime
from transcoder.limits import MAX_DECODED_S, MAX_FILE_BYTES
from transcoder.stream import MAX_SILENCE_S, Heard
from transcoder.stream_state import MAX_STATE_BYTES

logger = logging.getLogger(__name__)

MAX_STREAMS = 250
"""In one child. Measured: a stream has 0.5 MB in it, and a child may have 384 MiB, of which 142 are there at the start.
Where all are full another one is started, which stays."""

LOOK_EVERY_S = 5.0
"""How often the pool looks for children that are old."""

RESTART_WAIT_S = 0.5
"""Between tries to start a child that does not start."""


class Lost(DecoderFailed):
    """The child that held this stream is gone, and with it what the decoder knew."""

    code = "decoder_lost"

    def __init__(self, *, at_work: bool) -> None:
        super().__init__("the decoder of this stream died; it goes on in another one")
        self.at_work = at_work
        """it was at work on this very chunk; else it died of something else"""


_Answer = tuple[Heard, str, bytes]
"""What was heard, what it is, where it stands."""


class _Place:
    """One child and the streams that live in it, in one life of it."""

    def __init__(self) -> None:
        self.child: Child | None = None
        self.life = 0
        self.streams = 0
        self.turn = asyncio.Lock()
        self.retired_at: float | None = None
        """since then it takes no new streams (of the loop's clock), and has no further life"""


class StreamPool:
    """`async with StreamPool() as pool: stream = pool.open("stream")`.

    Entering waits until all children are ready, and raises DecoderFailed when one does not start.
    """

    def __init__(
        self,
        children: int = 1,
        *,
        hang_s: float = 2.0,
        start_timeout_s: float = 20.0,
        lifetime: Lifetime = USUAL,
    ) -> None:
        if children < 1:
            raise ValueError(f"a pool has at least one child, not {children}")
        self._places = [_Place() for _ in range(children)]
        self._retired: list[_Place] = []
        self._lifetime = lifetime
        self._relieving: asyncio.Task[None] | None = None
        self._hang_s, self._start_timeout_s = hang_s, start_timeout_s
        self._last = 0
        self._asking: set[asyncio.Task[_Answer]] = set()
        self.replaced = 0
        """how many children died or hung since the start"""
        self.relieved = 0
        """how many grew old"""

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the children that are alive, as far as is known."""
        return tuple(place.child.pid for place in (*self._places, *self._retired) if place.child is not None)

    def open(self, source: str, kept: bytes = b"") -> DecodedStream:
        """A stream, where the fewest are. It is about to begin, or goes on from where it stood when this was `kept`."""
        self._last += 1
        place = min(self._places, key=lambda place: place.streams)
        if place.streams >= MAX_STREAMS:
            place = _Place()
            self._places.append(place)
        place.streams += 1
        return DecodedStream(self, place, self._last, source, kept)

    async def ask(self, place: _Place, life: int | None, request: wire.FeedStream | wire.CloseStream) -> _Answer:
        """Raises MediaError; Lost when that life of the child is over (None: any will do).

        Whoever asks may be cancelled: the answer is waited for all the same, lest the next one takes it for its own.
        """
        asking = asyncio.create_task(self._ask(place, life, request), name=f"decoder stream {request.stream}")
        self._asking.add(asking)
        asking.add_done_callback(self._asked)
        return await asyncio.shield(asking)

    def _asked(self, asking: asyncio.Task[_Answer]) -> None:
        self._asking.discard(asking)
        if not asking.cancelled():
            asking.exception()  # whoever asked has heard it, or has left

    async def _ask(self, place: _Place, life: int | None, request: wire.FeedStream | wire.CloseStream) -> _Answer:
        async with place.turn:
            child = await self._alive(place, life)
            try:
                answer = await child.ask(request, self._hang_s)
                return _checked(answer, request.max_seconds)
            except ChildDied as reason:
                await self._bury(place, child, reason)
                raise Lost(at_work=True) from reason

    async def drop(self, place: _Place, life: int | None, request: wire.CloseStream) -> None:
        """Nobody wants the stream any more."""
        async with place.turn:
            if place.child is not None and place.life == life:
                await place.child.tell(request)

    async def __aenter__(self) -> StreamPool:
        starts = [asyncio.create_task(self._start(place)) for place in self._places]
        try:
            await asyncio.gather(*starts)
        except BaseException:
            for start in starts:
                start.cancel()
            await asyncio.wait(starts)
            await self._end()
            raise
        self._relieving = asyncio.create_task(self._relieve_the_old(), name="relief of decoder children")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        if self._relieving is not None:
            self._relieving.cancel()
            await asyncio.wait([self._relieving])
        for asking in self._asking:
            asking.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        places = (*self._places, *self._retired)
        await asyncio.gather(*(place.child.kill() for place in places if place.child is not None))
        if self._relieving is not None and not self._relieving.cancelled():
            self._relieving.result()  # raises what is wrong with us

    async def _start(self, place: _Place) -> None:
        place.child = await Child.start(self._start_timeout_s)
        place.life += 1

    async def _alive(self, place: _Place, life: int | None) -> Child:
        """The child, if it is the one that is meant; a new one for a stream that begins."""
        if place.child is not None and place.child.ended:
            await self._bury(place, place.child, ChildDied("it ended while it had nothing to do"))
        if life is not None and (place.child is None or place.life != life):
            raise Lost(at_work=False)
        if place.child is None:
            if place.retired_at is not None:
                raise Lost(at_work=False)
            try:
                await self._start(place)
            except DecoderFailed:
                await asyncio.sleep(RESTART_WAIT_S)
                raise
        assert place.child is not None
        return place.child

    async def _relieve_the_old(self) -> None:
        """A child that is old gets no new streams; it ends with its last one, or takes leave of them."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(min(self._lifetime.seconds, self._lifetime.grace_s, LOOK_EVERY_S))
            for number, place in enumerate(self._places):
                if place.child is not None and place.child.age_s >= self._lifetime.seconds:
                    await self._retire(number, place)
            for place in [*self._retired]:
                assert place.retired_at is not None
                if place.streams == 0 or place.child is None or clock() - place.retired_at >= self._lifetime.grace_s:
                    async with place.turn:  # nobody is in the middle of a chunk
                        await self._let_go(place)

    async def _retire(self, number: int, place: _Place) -> None:
        heir = _Place()
        try:
            await self._start(heir)
        except DecoderFailed as error:
            logger.warning("a decoder child stays, for no other can be started: %s", error)
            if place.child is not None:
                place.child.spare()
            return
        self._places[number] = heir
        place.retired_at = asyncio.get_running_loop().time()
        self._retired.append(place)
        self.relieved += 1

    async def _let_go(self, place: _Place) -> None:
        """Its streams, if it has any, are Lost at their next chunk."""
        child, place.child = place.child, None
        self._retired.remove(place)
        if child is not None:
            await child.kill()

    async def _bury(self, place: _Place, child: Child, reason: ChildDied) -> None:
        place.child = None
        self.replaced += 1
        trace = await child.kill()
        last_line = trace.strip().rpartition("\n")[2]
        logger.warning("decoder child %d is replaced: %s (%s)", child.pid, reason, last_line or "it said nothing")


class DecodedStream:
    """One stream in a child. One task feeds it. Every call raises MediaError; after it, there is nothing more to be had."""

    def __init__(self, pool: StreamPool, place: _Place, number: int, source: str, kept: bytes) -> None:
        self._pool, self._place, self._number, self._source = pool, place, number, source
        self._going_on_from = kept
        self._life: int | None = None
        self._over = False
        self.what = ""
        """codec, rate and channels, once they are known"""
        self.kept = b""
        """where the stream stood after the last chunk that was fed with `keep`; empty when that could not be said"""

    async def feed(self, data: bytes, *, max_seconds: float, lost: bool = False, keep: bool = False) -> Heard:
        """The next bytes, as they came. `lost`: something is missing before them. Raises Lost, too."""
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"a chunk of {len(data)} bytes")
        most = max(0.0, min(max_seconds, MAX_DECODED_S))
        from_, self._going_on_from = self._going_on_from, b""
        return await self._ask(wire.FeedStream(self._number, self._source, from_, bytes(data), lost, keep, most))

    async def close(self, *, max_seconds: float) -> Heard:
        """The stream has ended: what was held back."""
        heard = await self._ask(wire.CloseStream(self._number, drop=False, max_seconds=max_seconds))
        self._leave()
        return heard

    async def drop(self) -> None:
        """Nobody wants it any more."""
        if not self._over:
            self._leave()
            await self._pool.drop(self._place, self._life, wire.CloseStream(self._number, drop=True, max_seconds=0.0))

    async def _ask(self, request: wire.FeedStream | wire.CloseStream) -> Heard:
        try:
            heard, self.what, self.kept = await self._pool.ask(self._place, self._life, request)
        except BaseException:
            self._leave()
            raise
        self._life = self._place.life
        return heard

    def _leave(self) -> None:
        if not self._over:
            self._over = True
            self._place.streams -= 1


def _checked(message: wire.Message, max_seconds: float) -> _Answer:
    """A child's answer, if it is one that a child of ours may give."""
    if not isinstance(message, wire.StreamHeard):
        raise ChildDied(f"it answered with {type(message).__name__}")
    most = (max_seconds + MAX_SILENCE_S) * SAMPLE_RATE * BYTES_PER_SAMPLE + 4_096
    if len(message.pcm) % BYTES_PER_SAMPLE or len(message.pcm) > most:
        raise ChildDied(f"it made {len(message.pcm)} bytes of PCM")
    if len(message.kept) > MAX_STATE_BYTES:
        raise ChildDied(f"it kept {len(message.kept)} bytes")
    return Heard(message.pcm, message.missing_s, message.damaged), message.what, message.kept
