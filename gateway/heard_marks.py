"""Tells a recording what one connection's client hears, and when (`streams.heard`).

Several times a second while something is sent, and once more when the connection is over. Each word says what is heard from
some moment on, also what is yet to come: so a process that dies has said it already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from gateway.backend import Backend
from gateway.place import Place
from gateway.playhead import Playhead
from runtime.logs import SessionLogger
from streams.errors import StreamUnavailable
from streams.heard import Left, Playing, Report, Sound, may_be_recorded, say
from streams.sessions import Session
from streams.stopping import Played

EVERY_S = 0.2

SLOW_S = 0.02
"""What took longer to be said is said again: the times in it are counted from when it is stored."""

TRY_AGAIN_S = 1.0

SAME_S = 0.002
"""Sounds that are apart by no more than this are one."""


class HeardMarks:
    """One connection's. Made in the loop; run `run` while it is connected, then `leave`."""

    def __init__(
        self, backend: Backend, session: Session, playhead: Playhead, log: SessionLogger, connection: str, place: Place
    ) -> None:
        self._backend, self._session, self._playhead, self._log = backend, session, playhead, log
        self._connection, self._place = connection, place
        self._since: float | None = None
        self._reports: list[tuple[Played, float]] = []
        self._changed = asyncio.Event()
        self._is_wanted = True
        self._now = asyncio.get_running_loop().time
        playhead.on_change = self._change

    async def run(self) -> None:
        """Until cancelled; or to its end, where nothing is ever recorded."""
        while self._is_wanted:
            try:
                self._is_wanted = await may_be_recorded(self._backend.redis, self._session)
                break
            except StreamUnavailable:
                await asyncio.sleep(TRY_AGAIN_S)
        while self._is_wanted:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._say()
            except StreamUnavailable as error:
                self._log.warning("a recording is not told yet what is heard: %s", error)
                self._changed.set()
                await asyncio.sleep(TRY_AGAIN_S)
            await asyncio.sleep(EVERY_S)

    async def leave(self) -> None:
        """The connection is over."""
        if self._is_wanted:
            with suppress(StreamUnavailable):
                await self._say()
                await say(self._backend.redis, self._session, Left(self._connection))

    def _change(self, since: float, report: Played | None, now: float) -> None:
        self._since = since if self._since is None else min(self._since, since)
        if report is not None:
            self._reports.append((report, now))
        self._changed.set()

    async def _say(self) -> None:
        for _ in range(3):
            if self._since is None:
                return
            since, reports, now = self._since, self._reports, self._now()
            self._since, self._reports = None, []
            try:
                await say(self._backend.redis, self._session, self._playing(since, reports, now))
            except BaseException:
                self._take_back(since, reports)
                raise
            if self._now() - now <= SLOW_S:
                return
            self._take_back(since, reports)

    def _take_back(self, since: float, reports: list[tuple[Played, float]]) -> None:
        self._since = since if self._since is None else min(self._since, since)
        self._reports = [*reports, *self._reports]

    def _playing(self, since: float, reports: list[tuple[Played, float]], now: float) -> Playing:
        told = tuple(Report(played.item, played.part, played.ms, _ms(at - now)) for played, at in reports)
        sounds = tuple(runs(self._playhead, since, now))
        return Playing(self._connection, str(self._place.after), self._place.exact, _ms(since - now), sounds, told)


def runs(playhead: Playhead, since: float, now: float) -> Iterable[Sound]:
    """What is heard from `since` on, in as few stretches as it can be said in; times from `now` on."""
    run: list[float] = []
    item, part = "", 0
    for sound in playhead.sent:
        if sound.begins_at < since - SAME_S / 2 or sound.ms <= 0:
            continue
        if run and (item, part) == (sound.item, sound.part):
            from_ms, ms, begins_at = run
            apart = abs(sound.begins_at - begins_at - ms / 1000) + abs(sound.from_ms - from_ms - ms) / 1000
            if apart <= SAME_S:
                run = [from_ms, ms + sound.ms, begins_at]
                continue
        if run:
            yield Sound(item, part, _ms(run[0] / 1000), _ms(run[1] / 1000), _ms(run[2] - now))
        run, item, part = [sound.from_ms, sound.ms, sound.begins_at], sound.item, sound.part
    if run:
        yield Sound(item, part, _ms(run[0] / 1000), _ms(run[1] / 1000), _ms(run[2] - now))


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)
