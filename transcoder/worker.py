"""One session's transcoder: `up` → `pcm` (`transcoder.uplink`), and `down` → its play streams (`transcoder.play`)."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from typing import Any

from runtime import traces
from runtime.logs import SessionLogger
from streams.errors import Replaced, StreamUnavailable
from streams.heard import is_recorded
from streams.hub import Hub
from streams.keys import PlayCodec
from streams.play import open_plays
from streams.sessions import LINGER_MS, Session, now_ms
from transcoder.metrics import Metrics
from transcoder.play import Play
from transcoder.recorder import Calls, Recorder
from transcoder.recording import Recordings
from transcoder.sandbox import DecoderPool
from transcoder.stream_pool import StreamPool
from transcoder.uplink import UplinkTranscoder

logger = logging.getLogger(__name__)

LOOK_AGAIN_S = 1.0
"""Between tries to see which play streams there are, while Redis does not answer."""

PLAYS_END_WITHIN_S = LINGER_MS / 1000
"""How long the last words may still come when `up` is gone."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What all sessions of a transcoder process share."""

    hub: Hub
    pool: DecoderPool
    recordings: Recordings | None = None
    """None: nothing is recorded"""
    streams: StreamPool | None = None
    """None: streams of chunks are not taken"""
    metrics: Metrics = field(default_factory=Metrics)
    calls: Calls | None = None
    """None: no call is recorded"""


class SessionTranscoder:
    """Transcodes for one session, both ways."""

    def __init__(self, session: Session, resources: Resources) -> None:
        self._session, self._hub, self._metrics = session, resources.hub, resources.metrics
        self._calls = resources.calls
        self._log = SessionLogger(logger, session.sid)
        self._plays: dict[PlayCodec, tuple[Play, asyncio.Task[None]]] = {}
        self._uplink = UplinkTranscoder(
            session,
            resources.hub,
            resources.pool,
            resources.recordings,
            self._log,
            stays=lambda: bool(self._plays) or self._recording is not None,
            streams=resources.streams,
            metrics=resources.metrics,
        )
        self._recording: asyncio.Task[None] | None = None
        self._look = asyncio.Event()
        self._task: asyncio.Task[Any] | None = None
        self._stopped = False

    @property
    def holds(self) -> bool:
        """Always: work that is done twice is refused once."""
        return True

    @property
    def is_busy(self) -> bool:
        """Always."""
        return True

    async def run(self) -> bool:
        """Transcode until the session ends; True then."""
        self._task = asyncio.current_task()
        self._log.info("transcoding begins")
        begun_ms = now_ms()
        try:
            is_over = await self._work()
            self._log.info("transcoding ends")
            return is_over
        except asyncio.CancelledError:
            if not self._stopped:
                raise
            self._log.info("this transcoder leaves the session to another")
            return False
        finally:
            traces.span(self._session.sid, "transcode", begun_ms, now_ms())

    def leave(self) -> None:
        """Leave off. What is not done stays in `up` and `down` for whoever comes next."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()

    def retire(self, within_s: float) -> None:
        """Another transcoder goes on to the sample at any moment: not all sessions go at the same one."""
        asyncio.get_running_loop().call_later(random.random() * within_s, self.leave)

    async def _work(self) -> bool:
        is_over = True
        try:
            async with asyncio.TaskGroup() as group:
                uplink = group.create_task(self._uplink.run(), name=f"uplink {self._session.sid}")
                uplink.add_done_callback(lambda _: self._look.set())
                await self._see_to_plays(group, uplink)
        except* Replaced:
            self._log.warning("a newer gen or epoch has overtaken this transcoder's work")
            is_over = False
        return is_over

    # ── play streams ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _see_to_plays(self, group: asyncio.TaskGroup, uplink: asyncio.Task[None]) -> None:
        """Fill each play stream that is there, until the uplink has ended; then until all is said."""
        bus, channel = self._hub.bus, self._session.keys.plays
        await bus.subscribe(channel, self)
        try:
            while not uplink.done():
                self._look.clear()
                await self._start_plays(group)
                await self._start_recording(group)
                await self._look.wait()
            await self._start_recording(group)  # one that another worker has not finished
        finally:
            await bus.unsubscribe(channel, self)
        if self._plays:
            for play, _ in self._plays.values():
                play.look_again()
            _, late = await asyncio.wait([task for _, task in self._plays.values()], timeout=PLAYS_END_WITHIN_S)
            for task in late:
                task.cancel()

    async def _start_plays(self, group: asyncio.TaskGroup) -> None:
        try:
            there = await open_plays(self._hub.redis, self._session)
        except StreamUnavailable as error:
            self._log.warning("which play streams there are is not known yet: %s", error)
            asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self._look.set)
            return
        for codec in there:
            if codec not in self._plays:
                play = Play(self._session, self._hub, codec, self._log, self._metrics)
                self._plays[codec] = play, group.create_task(play.run(), name=f"{codec} {self._session.sid}")

    async def _start_recording(self, group: asyncio.TaskGroup) -> None:
        if self._recording is not None or self._calls is None:
            return
        try:
            if await is_recorded(self._hub.redis, self._session):
                recorder = Recorder(self._session, self._hub, self._calls, self._log)
                self._recording = group.create_task(recorder.run(), name=f"recorder {self._session.sid}")
        except StreamUnavailable as error:
            self._log.warning("whether the call is recorded is not known yet: %s", error)
            asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self._look.set)

    def heard(self, data: bytes) -> None:
        """Somebody has opened a play stream, or wants the call to be recorded."""
        self._look.set()

    def missed(self) -> None:
        """Somebody may have; and the server may not have all any more that was written to it."""
        self._look.set()
        self._uplink.doubt()
        for play, _ in self._plays.values():
            play.doubt()
