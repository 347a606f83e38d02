"""The packet before the place at which a client takes an answer up: a decoder of AAC that begins there needs it.

Packets of AAC overlap: each one's second half sounds together with the next one's first. A decoder that begins in the
middle of an answer makes of its first packet what cannot be heard as it was; so that is one that the client has had.
"""

from __future__ import annotations

from redis.asyncio import Redis

from gateway.output import PacketBefore
from streams import down
from streams.consumer import read_back
from streams.ids import BIRTH, EntryId
from streams.keys import PlayCodec
from streams.sessions import Session

_BACK = 16
"""Entries: between two that have sound stand words, and what the model says of its answer."""


async def packet_before(redis: Redis, session: Session, codec: PlayCodec, after: EntryId) -> PacketBefore | None:
    """The last one up to and with the entry `after` of this play stream. None where that has none, or nothing is needed.

    Raises StreamUnavailable.
    """
    if codec != "aac" or after <= BIRTH:
        return None
    for entry in reversed(await read_back(redis, session.keys.play(codec), down.decoder, upto=after, count=_BACK)):
        match entry.message:
            case down.Coded(item=item, part=part, audio=audio, packets=packets) if packets.sizes:
                end = packets.position + packets.samples * len(packets.sizes)
                return PacketBefore(item, part, packets.split(audio)[-1], end)
    return None
