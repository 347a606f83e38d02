"""`down` → a play stream: the same entries under the same ids, with the audio at another rate or coded (`streams.play`)."""

from __future__ import annotations

import asyncio

import msgspec

from runtime.logs import SessionLogger
from streams import down
from streams.coding import ANY, Coding
from streams.consumer import Consumer, Entry, last_id, read_back
from streams.errors import Over, StreamUnavailable, Wanted
from streams.hub import Hub
from streams.ids import ZERO, EntryId
from streams.keys import PlayCodec
from streams.play import coding_of, sample_rate
from streams.producer import Assigned, Producer
from streams.sessions import Session, Sessions
from streams.trim import trim
from transcoder.losses import has_lost
from transcoder.metrics import Metrics
from transcoder.play_parts import CodedPart, PcmPart, PlayPart

PRIME_ENTRIES = 128
"""Of `down`, before the first that is to be done: what they hold of a part that goes on warms its resampler or encoder up.
Audio comes in entries of a tenth of a second, and not more than a few events between two of them."""

MAX_PARTS = 16
"""Parts of answers that have begun and not ended; of more the oldest is forgotten."""

LOOK_BYTES = 1 << 20
"""So much more written, and it is time to ask what has arrived, and to trim that."""


class _Part(msgspec.Struct):
    item_id: str
    content_index: int


class _Response(msgspec.Struct):
    id: str


class _ResponseDone(msgspec.Struct):
    response: _Response


class PlayEncoder:
    """NO I/O. One play stream: entries of `down` in, in order, each as it stands in the play stream out.

    Each part of an answer has a resampler or an encoder of its own. Its last samples go with the event that ends it; those
    of a part that is interrupted, or whose bridge has died, are not wanted any more.
    """

    def __init__(self, codec: PlayCodec, coding: Coding = ANY) -> None:
        self._codec: PlayCodec = codec
        self._coding = coding
        self._parts: dict[tuple[str, int], PlayPart] = {}
        """by item and part"""

    def encode(self, message: down.DownMessage) -> down.DownMessage:
        match message:
            case down.Audio():
                return self._part(message).feed(message)
            case down.ServerEvent(type="response.output_audio.done", body=body):
                part = msgspec.json.decode(body, type=_Part)
                return self._with_tail(message, [(part.item_id, part.content_index)])
            case down.ServerEvent(type="response.done", body=body):
                response = msgspec.json.decode(body, type=_ResponseDone).response.id
                return self._with_tail(message, [key for key, part in self._parts.items() if part.response == response])
            case down.Interrupted(item=item, part=part_index):
                self._parts.pop((item, part_index), None)
            case down.EpochTaken() | down.Ended():
                self._parts.clear()
        return message

    def _part(self, audio: down.Audio) -> PlayPart:
        key = (audio.item, audio.part)
        if key not in self._parts:
            if len(self._parts) >= MAX_PARTS:
                del self._parts[next(iter(self._parts))]
            self._parts[key] = self._begun(audio)
        return self._parts[key]

    def _begun(self, audio: down.Audio) -> PlayPart:
        if self._codec == "opus" or self._codec == "aac":
            return CodedPart(self._codec, self._coding, audio)
        return PcmPart(sample_rate(self._codec), audio)

    def _with_tail(self, event: down.ServerEvent, parts: list[tuple[str, int]]) -> down.ServerEvent:
        ends = [self._parts.pop(key).end() for key in parts if key in self._parts]
        tails = [(data, tail) for data, tail in ends if data]
        if not tails:
            return event
        return msgspec.structs.replace(event, tail=b"".join(data for data, _ in tails), tails=[tail for _, tail in tails])


class Play:
    """One play stream of a session, from where it ends to the session's end."""

    def __init__(self, session: Session, hub: Hub, codec: PlayCodec, log: SessionLogger, metrics: Metrics) -> None:
        self._hub, self._log, self._metrics = hub, log, metrics
        self._down, self._stream = session.keys.down, session.keys.play(codec)
        self._session, self._sessions = session, Sessions(hub.redis)
        self._codec: PlayCodec = codec
        self._encoder = PlayEncoder(codec)
        self._ids: Assigned
        self._producer: Producer
        self._consumer: Consumer[down.DownMessage] | None = None
        self._looked_at = 0
        self._written = 0

    def look_again(self) -> None:
        """Read `down` now: it may be gone, which nobody announces."""
        if self._consumer is not None:
            self._consumer.missed()

    async def run(self) -> None:
        """Fill it. Raises Replaced when another transcoder is ahead in it, StreamUnavailable."""
        try:
            while not await self._fill():
                self._log.warning("Redis has lost what was made of the model's speech; it is made again")
        except Over:
            self._log.info("what is said to the client is gone")

    async def _fill(self) -> bool:
        """From where the stream ends; False when that is not there any more."""
        last = await self._prime()
        if last is None:
            return True
        self._ids = Assigned(last)
        self._producer = Producer(self._hub.writer, self._stream, self._ids)
        self._consumer = Consumer(self._hub.redis, self._hub.bus, self._down, down.decoder, after=last)
        self._consumer.on_wait = self._metrics.down_wait
        async with self._consumer as entries:
            while not await has_lost(self._hub.redis, self._stream, self._ids.last):
                async for entry in entries:
                    try:
                        await self._pass_on(entry)
                    except Wanted:
                        return False
                    if isinstance(entry.message, down.Ended):
                        return True
        return False

    def doubt(self) -> None:
        """The server may not have all any more that was written to it: look, when there is nothing else to do."""
        if self._consumer is not None:
            self._consumer.leave()

    async def _prime(self) -> EntryId | None:
        """Where to go on, the resamplers and encoders about as whoever came so far left them; None when all is said."""
        last = await last_id(self._hub.redis, self._stream)
        if last is None:
            raise Over(self._stream)
        self._encoder = PlayEncoder(self._codec, await coding_of(self._hub.redis, self._session, self._codec))
        done = await read_back(self._hub.redis, self._down, down.decoder, upto=last, count=PRIME_ENTRIES)
        for entry in done:
            self._encode(entry)
            await asyncio.sleep(
                0
            )  # a tenth of a second is coded in less than a millisecond, all this in a tenth of a second
        return None if done and isinstance(done[-1].message, down.Ended) else last

    async def _pass_on(self, entry: Entry[down.DownMessage]) -> None:
        message = self._encode(entry)
        self._ids.assign(self._producer.next_number, entry.id)
        self._producer.append(message)
        await self._producer.flush()
        if isinstance(message, down.Audio | down.Coded):
            self._written += len(message.audio)
            if self._written - self._looked_at >= LOOK_BYTES:
                self._looked_at = self._written
                await self._trim()

    def _encode(self, entry: Entry[down.DownMessage]) -> down.DownMessage:
        try:
            return self._encoder.encode(entry.message)
        except msgspec.MsgspecError as error:
            self._log.error("%s %s is passed on as it is: %s", self._down, entry.id, error)
            return entry.message

    async def _trim(self) -> None:
        """As `down` is: what has reached the client, by the same ids."""
        try:
            arrived = await self._sessions.cursor(self._session, "arrived")
            await trim(self._hub.redis, self._stream, arrived or ZERO)
        except StreamUnavailable as error:
            self._log.warning("could not trim a play stream: %s", error)
