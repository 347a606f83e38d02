"""Records one session: what both sides say, from `pcm` and `down`, and what was heard when, from `heard`.

Each comes into a track of its own, at its place (`transcoder.call_files`), twice a second; what is on disk may be trimmed in
Redis. When the session is over the tracks become one stereo file (`transcoder.rendering`). Nothing here holds up the call,
and nothing that goes wrong here ends it.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from redis.exceptions import RedisError

from runtime.logs import SessionLogger
from streams import down, heard, keys, pcm, turns
from streams.codec import Decoder
from streams.consumer import Consumer, Entry, read
from streams.errors import Over, StreamUnavailable
from streams.hub import Hub
from streams.ids import EntryId
from streams.sessions import Session
from transcoder import call_lines
from transcoder.call_files import About, CallFiles, Reached, Track, TrackName
from transcoder.rendering import Format, render
from transcoder.track_lines import AnyLine, Switch

WRITE_EVERY_S = 0.5

MAX_WAITING_BYTES = 4 << 20
"""Of one call, not written yet: a disk that is slow is waited for, and Redis keeps what comes meanwhile."""

LAST_WORDS_S = 1.0
"""When a session is over: what its gateway may still have to tell of what was heard."""

_NICE = 10
"""Of the thread that makes recordings of ended calls: those that go on come first."""


def _be_nice() -> None:
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _one_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="rendering", initializer=_be_nice)


@dataclass(frozen=True, slots=True)
class Calls:
    """Where this process keeps recordings of calls, and with which threads."""

    directory: Path
    format: Format = "opus"
    writing: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, thread_name_prefix="calls"))
    rendering: ThreadPoolExecutor = field(default_factory=_one_thread)

    def close(self) -> None:
        self.writing.shutdown(wait=False)
        self.rendering.shutdown(wait=False, cancel_futures=True)


class Recorder:
    """One session's, in one worker."""

    def __init__(self, session: Session, hub: Hub, calls: Calls, log: SessionLogger) -> None:
        self._session, self._hub, self._calls, self._log = session, hub, calls, log
        self._files = CallFiles(calls.directory, session.sid)
        self._tracks: dict[TrackName, Track] = {}
        self._switches: list[Switch] = []
        self._waiting_bytes = 0
        self._has_room = asyncio.Event()
        self._has_room.set()

    async def run(self) -> None:
        """To the session's end, and until its recording is there. What goes wrong is logged."""
        try:
            await self._run()
        except OSError as error:
            self._log.error("the call cannot be recorded, and goes on without: %s", error)
            await self._withdraw()
        except StreamUnavailable as error:
            self._log.error("the recording of the call stops: %s", error)
        except Exception:  # noqa: BLE001 - of ours: the call does not end for it; what is on disk is made a recording of later
            self._log.exception("the recording of the call stops")

    async def _withdraw(self) -> None:
        """There is no recording that anybody should wait for."""
        try:
            await self._hub.redis.unlink(self._session.keys.recorded)
        except (OSError, RedisError) as error:
            self._log.warning("the recording is waited for, though there is none: %s", error)

    async def _run(self) -> None:
        reached = await self._write(self._begin_files, await self._about())
        self._tracks = {name: Track(name, at) for name, at in reached.items()}
        self._switches = [line for line in await self._write(list, self._files.lines()) if isinstance(line, Switch)]
        k = self._session.keys
        for entry in await read(self._hub.redis, k.heard, heard.decoder, after=self._last("heard")):
            self._add_heard(entry)
        self._log.info("the call is recorded")
        await self._read_all()
        await self._write_all()
        await self._finish()

    async def _read_all(self) -> None:
        """To the session's end. Raises OSError, StreamUnavailable, what went wrong first."""
        try:
            await self._follow_all()
        except* (OSError, StreamUnavailable) as group:
            first: BaseException = group
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            raise first from None

    async def _follow_all(self) -> None:
        k = self._session.keys
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(self._keep_writing())
            hearing = group.create_task(self._follow(k.heard, heard.decoder, "heard", self._add_heard))
            said = group.create_task(self._follow(k.pcm, pcm.decoder, "pcm", self._add_pcm))
            answered = group.create_task(self._follow(k.down, down.decoder, "down", self._add_down))
            await asyncio.wait([said, answered])
            await asyncio.wait([hearing], timeout=LAST_WORDS_S)
            for task in (writing, hearing):
                task.cancel()
        for last in await read(self._hub.redis, k.last_pcm, pcm.decoder, after=self._last("pcm")):
            self._add_pcm(last)
        for entry in await read(self._hub.redis, k.heard, heard.decoder, after=self._last("heard")):
            self._add_heard(entry)

    async def _about(self) -> About:
        opened = await read(self._hub.redis, self._session.keys.turns, turns.decoder, count=1)
        user, door = keys.named_by(self._session.at)[0], ""
        if opened and isinstance(opened[0].message, turns.Opened):
            user, door = opened[0].message.user, opened[0].message.door
        return About(self._session.sid, user, door)

    def _begin_files(self, about: About) -> dict[TrackName, Reached]:
        return self._files.begin(about)

    async def _finish(self) -> None:
        if await self._hub.redis.exists(self._session.keys.forgotten):
            await self._write(self._files.forget)
            return
        loop = asyncio.get_running_loop()
        ended_ms = time.time_ns() // 1_000_000
        about = await loop.run_in_executor(self._calls.rendering, render, self._files, self._calls.format, ended_ms)
        if await self._hub.redis.exists(self._session.keys.forgotten):
            await self._write(self._files.forget)
        elif about is not None:
            self._log.info("the recording of the call is there: %.1f s", about.seconds)

    # ── what comes ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _follow(self, stream: str, decoder: Decoder[Any], name: TrackName, add: Any) -> None:
        consumer: Consumer[Any] = Consumer(self._hub.redis, self._hub.bus, stream, decoder, after=self._last(name))
        try:
            async with consumer as entries:
                async for entry in entries:
                    add(entry)
                    await self._has_room.wait()
                    if isinstance(entry.message, down.Ended):
                        return
        except Over:
            pass

    def _last(self, name: TrackName) -> EntryId:
        return EntryId.parse(self._tracks[name].reached.last)

    def _add_heard(self, entry: Entry[heard.HeardMessage]) -> None:
        line = call_lines.of_heard(entry.id, entry.message)
        if isinstance(line, Switch):
            self._switches.append(line)
        self._tracks["heard"].add(str(entry.id), line)

    def _add_pcm(self, entry: Entry[pcm.PcmMessage]) -> None:
        track, at_ms = self._tracks["pcm"], call_lines.said_ms(entry.message) or _time(entry)
        line, audio = call_lines.of_pcm(at_ms, entry.message, track.reached.samples)
        self._add(track, entry.id, line, audio, at_ms)

    def _add_down(self, entry: Entry[down.DownMessage]) -> None:
        track, at_ms = self._tracks["down"], _time(entry)
        line, audio = call_lines.of_down(at_ms, entry.id, entry.message, track.reached.samples)
        self._add(track, entry.id, line, audio, at_ms)

    def _add(self, track: Track, entry: EntryId, line: AnyLine | None, audio: bytes, at_ms: int) -> None:
        track.add(str(entry), line, audio, kept=self._is_on(at_ms))
        self._waiting_bytes += len(audio)
        if self._waiting_bytes > MAX_WAITING_BYTES:
            self._has_room.clear()

    def _is_on(self, at_ms: int) -> bool:
        """What nobody wants to have recorded does not come to the disk, also not for a while."""
        on = bool(self._switches) and self._switches[0].on and at_ms < self._switches[0].at_ms
        for switch in self._switches:
            if switch.at_ms > at_ms:
                break
            on = switch.on
        return on

    # ── to the disk ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _keep_writing(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            await self._write_all()

    async def _write_all(self) -> None:
        taken = {name: track.take() for name, track in self._tracks.items()}
        if not any(lines or audio for _, lines, audio in taken.values()):
            return
        reached = {name: msgspec.structs.replace(track.reached) for name, track in self._tracks.items()}

        def write() -> None:
            for name, (at, lines, audio) in taken.items():
                self._files.write(name, at, lines, audio)
            self._files.keep_state(reached)

        waiting = self._waiting_bytes
        await self._write(write)
        self._waiting_bytes -= waiting
        self._has_room.set()
        places = {"pcm": reached["pcm"].last, "down": reached["down"].last}
        try:
            await heard.keep_place(self._hub.redis, self._session, places, reached["heard"].last)
        except StreamUnavailable as error:
            self._log.warning("how far the recording is could not be told: %s", error)

    async def _write(self, work: Any, *arguments: Any) -> Any:
        """In a thread, to its end: what is half written would not be written again."""
        done = asyncio.get_running_loop().run_in_executor(self._calls.writing, work, *arguments)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            await asyncio.wait([done])
            raise


def _time(entry: Entry[Any]) -> int:
    """Where the server did not say (its marks were lost): now."""
    return entry.at_ms or time.time_ns() // 1_000_000
