"""Streamed PCM for a transcoder: what was said, in entries of any length, and what became of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from secrets import token_hex

import numpy as np

from streams import pcm, turns, up
from streams.consumer import Consumer, Entry, read
from streams.hub import Hub
from streams.ids import EntryId
from streams.messages import Clear, Commit, End, Message, Text
from streams.producer import Marked, Producer
from streams.sessions import Session, Sessions

Made = tuple[int, pcm.PcmMessage]
"""A piece: the right half of its id, and the message."""


def noise(samples: int, seed: int = 1) -> bytes:
    """PCM16 in which every bit matters."""
    return np.random.default_rng(seed).integers(-30_000, 30_000, samples, dtype=np.int16).tobytes()


def chunks(pcm16: bytes, chance: random.Random, largest: int) -> list[Message]:
    """Entries of 1 to `largest` samples."""
    entries: list[Message] = []
    at = 0
    while at < len(pcm16):
        size = 2 * chance.randint(1, largest)
        entries.append(up.Audio(pcm16[at : at + size]))
        at += size
    return entries


def conversation(rate: int, seed: int) -> list[Message]:
    """Utterances of up to 2 s in entries of up to 150 ms, what ends them between, and the end."""
    chance = random.Random(seed)
    said: list[Message] = []
    for n, ending in enumerate((Commit(), Clear(), Text("hi"), Commit(), Commit(respond=False))):
        said += [*chunks(noise(chance.randint(1, 2 * rate), seed + n), chance, rate * 3 // 20), ending]
    return [*said, *chunks(noise(rate // 3, seed), chance, rate // 20), End("done")]


async def new_session(hub: Hub, rate: int, *, record: str | None = None) -> Session:
    about = turns.Opened(user=token_hex(4), door="ios", record=record)
    return (await Sessions(hub.redis).create(about, "c", source=f"pcm16 {rate}")).session


async def say(hub: Hub, session: Session, messages: Sequence[Message]) -> None:
    """Each an entry of its own."""
    producer = Producer(hub.writer, session.keys.up, Marked(token_hex(4)))
    for message in messages:
        await producer.append(message)


async def made(hub: Hub, session: Session) -> list[Made]:
    """All of `pcm`, but for the birth."""
    entries: list[Entry[pcm.PcmMessage]] = await read(hub.redis, session.keys.pcm, pcm.decoder)
    return [(entry.id.right, entry.message) for entry in entries[1:]]


async def until_made(hub: Hub, session: Session, count: int, after: EntryId) -> EntryId:
    """Wait until there are so many more pieces; the id of the last."""
    async with Consumer(hub.redis, hub.bus, session.keys.pcm, pcm.decoder, after=after) as entries:
        async for entry in entries:
            count -= 1
            if count <= 0 or isinstance(entry.message, End):
                return entry.id
    raise AssertionError


async def finish(task: asyncio.Task[bool]) -> None:
    task.cancel()
    await asyncio.wait([task])
