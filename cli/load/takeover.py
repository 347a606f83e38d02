"""How long sessions are without a worker when theirs is killed: until another one has them, and until it is heard of.

The harness looks into Redis for that: clients cannot tell whose audio they hear. A session of which nothing was due when
its worker died (its user spoke on, or listened to what was said already) has no first audio to wait for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from redis.asyncio import Redis

from cli.load.faults import Service
from streams import keys
from streams.codec import stamps
from streams.ids import SEQ_STRIDE, ZERO, EntryId
from streams.keys import SessionKeys

LOOK_EVERY_S = 0.025
LIMIT_S = 20.0
"""Who has no worker by then is an orphan."""
DUE_WITHIN_S = 0.5
"""Something to decode that came later than this was not due when the transcoder died."""
_ENTRIES = 100
"""Of `down`, in one look."""
_TURNS = 12
"""Latest entries of `turns` in which it stands whether an answer is due."""


@dataclass
class Takeover:
    """One session whose worker was killed."""

    cause: str
    """the fault's name"""
    at_s: float
    """when, on the run's clock: all of one kill have the same"""
    sid: str
    owned_s: float | None = None
    """after the kill another worker had it"""
    heard_s: float | None = None
    """after the kill its first audio was there; None where nothing was due"""
    is_due: bool = False
    """something was"""
    blur_s: float = 0.0
    """the longest time in which nobody looked: this process was busy otherwise, and of a transcoder both may have been
    earlier by so much; what a bridge says tells when it was said"""
    is_over: bool = False
    """the session ended before"""

    @property
    def is_orphan(self) -> bool:
        return self.owned_s is None and not self.is_over


@dataclass
class _Seen:
    takeover: Takeover
    owner: str
    epoch: int = 0
    """of the bridge that died"""
    looked_to: EntryId = ZERO
    """in `down`: a conversation that is told again may be hundreds of entries before the first audio"""
    done: EntryId | None = None
    """the last entry that the transcoder that died has written"""
    is_due: bool | None = None
    """None: not known yet"""

    @property
    def is_settled(self) -> bool:
        taken = self.takeover
        return taken.is_over or (taken.owned_s is not None and (taken.heard_s is not None or self.is_due is False))


@dataclass
class Watch:
    """Made before the kill; `follow` afterwards."""

    redis: Redis
    service: Service
    pids: Collection[int] = ()
    """who will die"""
    seen: list[_Seen] = field(default_factory=list)
    killed_at: float = 0.0
    """when they died (Unix time)"""

    async def begin(self, cause: str) -> None:
        """Which sessions they have."""
        # Epochs first: one that is not yet read when its session is somebody else's is a takeover, not the one before it.
        sids = await self._sids()
        epochs = await self._epochs(sids) if self.service == "bridge" else [0] * len(sids)
        for sid, epoch, owner in zip(sids, epochs, await self._owners(sids), strict=True):
            if _pid(owner) in self.pids:
                self.seen.append(_Seen(Takeover(cause, 0.0, sid), owner, epoch, EntryId(epoch + 1, 0)))

    async def busy(self) -> set[int]:
        """Processes that have sessions."""
        return {_pid(owner) for owner in await self._owners(await self._sids())}

    async def _sids(self) -> list[str]:
        """Of all sessions."""
        return [cast(bytes, sid).decode() for sid in await self.redis.zrange(keys.SESSIONS, 0, -1)]

    async def _epochs(self, sids: list[str]) -> list[int]:
        """The latest bridge's, of each; 0 where none has been there."""
        async with self.redis.pipeline(transaction=False) as pipeline:
            for sid in sids:
                pipeline.xrevrange(SessionKeys(sid).down, count=1)
            found = await pipeline.execute()
        return [EntryId.parse(down[0][0]).left if down else 0 for down in found]

    async def follow(self, killed_s: float) -> list[Takeover]:
        """Until all have been taken over, and heard of where something was due. `killed_s`: on the run's clock."""
        loop = asyncio.get_running_loop()
        since, looked = loop.time(), 0.0
        self.killed_at = self.killed_at or time.time()
        for each in self.seen:
            each.takeover.at_s = killed_s
        while (waiting := [each for each in self.seen if not each.is_settled]) and loop.time() < since + LIMIT_S:
            await asyncio.sleep(LOOK_EVERY_S)
            if self.service == "bridge" and not looked:  # by now it has died, and said its last word
                await self._see_what_is_due()
            looked, before = loop.time() - since, looked
            for each in waiting:
                each.takeover.blur_s = max(each.takeover.blur_s, looked - before)
            if self.service == "bridge":
                await self._look_at_bridges(waiting)
                continue
            owners = await self._owners([each.takeover.sid for each in waiting])
            now = loop.time() - since
            for each, owner in zip(waiting, owners, strict=True):
                if owner and owner != each.owner and each.takeover.owned_s is None:
                    each.takeover.owned_s = now
            await self._look_at_transcoders(waiting, since)
        for each in self.seen:
            each.takeover.is_due = bool(each.is_due)
        return [each.takeover for each in self.seen]

    async def _owners(self, sids: list[str]) -> list[str]:
        """`host:pid`; empty where nobody has it."""
        async with self.redis.pipeline(transaction=False) as pipeline:
            for sid in sids:
                if self.service == "bridge":
                    pipeline.get(SessionKeys(sid).lease)
                else:
                    pipeline.hget(SessionKeys(sid).marks, keys.dispatch_field("transcoder"))
            found: list[Any] = await pipeline.execute()
        if self.service == "bridge":
            return ["" if lease is None else lease.decode().partition("|")[0] for lease in found]
        stream = keys.dispatch("transcoder")
        pending: list[Any] = await self.redis.xpending_range(stream, keys.DISPATCH_GROUP, "-", "+", 10_000)
        consumers = {entry["message_id"]: entry["consumer"].decode() for entry in pending}
        return [consumers.get(entry, "") for entry in found]

    async def _see_what_is_due(self) -> None:
        async with self.redis.pipeline(transaction=False) as pipeline:
            for each in self.seen:
                pipeline.xrevrange(SessionKeys(each.takeover.sid).turns, count=_TURNS)
            found = await pipeline.execute()
        for each, turns in zip(self.seen, found, strict=True):
            each.is_due = answer_is_due([fields for at, fields in turns if EntryId.parse(at).left <= each.epoch])

    async def _look_at_bridges(self, waiting: list[_Seen]) -> None:
        async with self.redis.pipeline(transaction=False) as pipeline:
            for each in waiting:
                pipeline.xrange(SessionKeys(each.takeover.sid).down, min=str(each.looked_to), count=_ENTRIES)
                pipeline.exists(SessionKeys(each.takeover.sid).pcm)
            found = await pipeline.execute()
        for each, entries, is_there in zip(waiting, found[::2], found[1::2], strict=True):
            taken = each.takeover
            taken.is_over |= not is_there
            if entries:
                each.looked_to = EntryId.parse(entries[-1][0])
            if entries and taken.owned_s is None:  # an epoch is the time at which it was taken
                taken.owned_s = EntryId.parse(entries[0][0]).left / 1000 - self.killed_at
            audio_at_us = next((stamps(fields)[0] for _, fields in entries if b"audio" in fields), None)
            if each.is_due and taken.heard_s is None and audio_at_us is not None:
                taken.heard_s = audio_at_us / 1_000_000 - self.killed_at

    async def _look_at_transcoders(self, waiting: list[_Seen], since: float) -> None:
        async with self.redis.pipeline(transaction=False) as pipeline:
            for each in waiting:
                pipeline.hmget(SessionKeys(each.takeover.sid).marks, "up", "pcm")
            found = await pipeline.execute()
        now = asyncio.get_running_loop().time() - since
        for each, (up, pcm) in zip(waiting, found, strict=True):
            if up is None or pcm is None:
                each.takeover.is_over = True
                continue
            last_up, last_pcm = EntryId.parse(up), EntryId.parse(pcm)
            if each.done is None or now < 2 * LOOK_EVERY_S:  # what it sent before it died may still come
                each.done = last_pcm
            if each.is_due is None and is_behind(last_pcm, last_up):
                each.is_due = True
            elif each.is_due is None and now > DUE_WITHIN_S:
                each.is_due = False
            if each.is_due and last_pcm > each.done:
                each.takeover.heard_s = now


def answer_is_due(turns: Iterable[Mapping[bytes, bytes]]) -> bool:
    """By the latest entries of `turns`, the last first: something was asked and is not answered, or not to its end."""
    latest = next((fields for fields in turns if fields.get(b"kind") in (b"committed", b"begun", b"answered")), None)
    return latest is not None and (latest[b"kind"] != b"answered" or latest.get(b"whole") == b"0")


def is_behind(pcm: EntryId, up: EntryId) -> bool:
    """Not all of `up` is in `pcm`."""
    return (pcm.left, pcm.right // SEQ_STRIDE) < (up.left, up.right)


def _pid(owner: str) -> int:
    return int(owner.rpartition(":")[2] or 0)
