"""The packet before the place at which a client takes an answer up: a decoder of AAC that begins there needs it.

Packets of AAC overlap: each one's second half sounds together with the next one's first. A decoder that begins in the
middle of an answer makes of its first packet what cannot be heard as it was; so that is one that the client has had.
"""

from __future__ import annotations

from redis.asyncio import Redis

from gateway.output import PacketBefore
from gateway.replay import just_before
from streams import down
from streams.consumer import read
from streams.ids import BIRTH, EntryId
from streams.keys import PlayCodec
from streams.sessions import Session


async def packet_before(redis: Redis, session: Session, codec: PlayCodec, after: EntryId) -> PacketBefore | None:
    """The last one up to and with the entry `after` of this play stream. None where that has none, or nothing is needed.

    Raises StreamUnavailable.
    """
    if codec != "aac" or after <= BIRTH:
        return None
    for entry in await read(redis, session.keys.play(codec), down.decoder, after=just_before(after), upto=after):
        match entry.message:
            case down.Coded(item=item, part=part, audio=audio, packets=packets) if packets.sizes:
                end = packets.position + packets.samples * len(packets.sizes)
                return PacketBefore(item, part, packets.split(audio)[-1], end)
    return None
