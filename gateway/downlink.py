"""❼ `down` → the door where the session's client waits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from gateway.backend import Backend
from gateway.errors import SessionEnded, SessionFailed, SessionGone, Unavailable
from streams import down
from streams.consumer import Consumer, Entry, read
from streams.errors import Over, StreamUnavailable
from streams.ids import BIRTH, EntryId
from streams.keys import PlayCodec
from streams.sessions import Session


class Downlink:
    """Reads what is said to one session's client from behind the id `after`.

    `codec`: from the play stream of that name, which the door has opened (`streams.play.open_play`), under the same ids.

    What an interruption has made void meanwhile is not said to a client that comes back.
    """

    def __init__(
        self, backend: Backend, session: Session, *, after: EntryId = BIRTH, codec: PlayCodec | None = None
    ) -> None:
        self._backend, self._after = backend, after
        self.void: set[str] = set()
        """items of which nothing more is given"""
        self.on_entry: Callable[[EntryId, down.DownMessage], None] = lambda entry, message: None
        """called with each entry that is given, before it is"""
        self._stream = session.keys.down if codec is None else session.keys.play(codec)
        self._consumer = Consumer(backend.redis, backend.bus, self._stream, down.decoder, after=after)

    def on_wait(self, waited: Callable[[float], None]) -> None:
        """Call this with how long each entry waited in the stream for us, in seconds."""
        self._consumer.on_wait = waited

    @property
    def is_bridged(self) -> bool:
        """Whether a bridge has ever said a word in this session."""
        return self._consumer.last > BIRTH

    def look_again(self) -> None:
        """Read the stream now: it may be gone, which nobody announces."""
        self._consumer.missed()

    async def _void_items(self) -> set[str]:
        """What was interrupted since: a client that was away is not told what nobody wanted to hear by then."""
        if self._after <= BIRTH:
            return set()
        missed = await read(self._backend.redis, self._stream, down.decoder, after=self._after)
        return {entry.message.item for entry in missed if isinstance(entry.message, down.Interrupted)}

    async def look_for_void(self) -> set[str]:
        """What is interrupted in what has not been given yet. Raises StreamUnavailable, Over."""
        ahead = await read(self._backend.redis, self._stream, down.decoder, after=self._consumer.last)
        return {entry.message.item for entry in ahead if isinstance(entry.message, down.Interrupted)}

    async def entries(self) -> AsyncGenerator[Entry[down.DownMessage], None]:
        """Each entry once and in order, up to and with `Ended`; then it raises how the session ended.

        Raises SessionEnded, SessionFailed (a `Failed` was the word before), SessionGone, Unavailable.
        """
        before: down.DownMessage | None = None
        try:
            async with self._consumer as entries:
                self.void |= await self._void_items()
                async for entry in entries:
                    if not (isinstance(entry.message, down.Audio | down.Coded) and entry.message.item in self.void):
                        self.on_entry(entry.id, entry.message)
                        yield entry
                    if isinstance(entry.message, down.Ended):
                        reason = entry.message.reason
                        raise SessionFailed(reason) if isinstance(before, down.Failed) else SessionEnded(reason)
                    before = entry.message
        except Over:
            raise SessionGone from None
        except StreamUnavailable as error:
            raise Unavailable from error
        finally:
            # Also when the subscription was broken off half-way: then the consumer's own exit is never called.
            await self._backend.bus.unsubscribe(self._consumer.stream, self._consumer)
