"""What was said, read from Redis for a fresh upstream socket; the thinking is in `rebuild.py` and `broken.py`."""

from __future__ import annotations

from redis.asyncio import Redis

from realtime_bridge import passthrough
from realtime_bridge.broken import mend
from realtime_bridge.ledger import Ledger
from realtime_bridge.personas import Personas
from realtime_bridge.rebuild import Rebuilt, rebuild, told_to, untold
from realtime_bridge.recalled import recalled
from realtime_bridge.spoken import START, Position
from realtime_bridge.unwritten import KEEP_S
from streams import down, pcm, turns
from streams.consumer import read
from streams.errors import Over
from streams.hub import Hub
from streams.ids import ZERO, just_before
from streams.last_sound import last_sound
from streams.sessions import Session, Sessions

_LONGEST_BYTES = KEEP_S * 48_000


class Memory:
    """One session's."""

    def __init__(self, hub: Hub, session: Session, ledger: Ledger, personas: Personas, *, goes_on: bool) -> None:
        self._hub, self._session, self._ledger, self._goes_on = hub, session, ledger, goes_on
        self._personas = personas

    async def recalled(self, upto: Position) -> Rebuilt:
        """What was said so far, all up to this place. Raises Over when there is no such session any more."""
        return await self._still_there(await self._rebuilt(upto))

    async def mended(self) -> Rebuilt:
        """The same when a socket is gone: what it had begun is noted, and told to the client, as what has come of it."""
        before = await self._rebuilt()
        told = await read(self._hub.redis, self._session.keys.down, down.decoder)
        closes_all = before.opened.door == passthrough.DOOR
        mended = mend(
            told,
            before,
            goes_on=self._goes_on,
            closes_all=closes_all,
            offered=self._personas.functions(before.persona),
        )
        for message in mended.told:
            self._ledger.say(message)
        for note in mended.turns:
            self._ledger.record(note)
        rebuilt = await self._rebuilt() if mended.turns else before
        rebuilt.untold, rebuilt.told_to = untold(told, rebuilt.used), told_to(told)
        arrived = await Sessions(self._hub.redis).cursor(self._session, "arrived")
        rebuilt.recalled = recalled(told, arrived or ZERO)
        for item in rebuilt.unanswered:
            self._ledger.record(turns.Removed(item=item))
        return await self._still_there(rebuilt)

    async def _rebuilt(self, upto: Position = START) -> Rebuilt:
        await self._ledger.flush()
        k = self._session.keys
        rebuilt = rebuild(await read(self._hub.redis, k.turns, turns.decoder), upto)
        if rebuilt is None:
            raise Over(k.turns)
        return rebuilt

    async def _still_there(self, rebuilt: Rebuilt) -> Rebuilt:
        if rebuilt.unwritten:
            rebuilt.forget_sound(await last_sound(self._hub.redis, self._session.keys.pcm, _LONGEST_BYTES))
        return rebuilt


async def sound(redis: Redis, stream: str, start: Position, end: Position) -> bytes:
    """What was said from here to there, as far as `pcm` still has it: PCM16 24 kHz, at most the last minute."""
    first = start.entry
    pieces = []
    for entry in await read(redis, stream, pcm.decoder, after=just_before(first), upto=end.entry):
        if isinstance(entry.message, pcm.Audio):
            begin = start.samples if entry.id == first else 0
            stop = end.samples if entry.id == end.entry else None
            pieces.append(entry.message.audio[2 * begin : None if stop is None else 2 * stop])
    return b"".join(pieces)[-_LONGEST_BYTES:]
