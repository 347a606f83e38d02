"""Looks after the recordings of calls that are over: makes those whose worker died before it could, deletes old ones.

Each transcoder does so, now and then, whoever has recorded the call: making a recording twice gives the same one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from redis.exceptions import RedisError

from streams.hub import Hub
from streams.keys import SessionKeys
from transcoder.call_files import CALLS, CallFiles
from transcoder.recorder import Calls
from transcoder.rendering import render

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 60.0

LEFT_AFTER_S = 120.0
"""A call whose keys are gone, and whose tracks nobody has written to for so long, has no worker any more."""

DAY_S = 86_400.0


class Shelf:
    def __init__(self, hub: Hub, calls: Calls, keep_days: float) -> None:
        self._redis, self._calls, self._keep_s = hub.redis, calls, keep_days * DAY_S

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look(time.time())
            except (OSError, RedisError) as error:
                logger.warning("recordings of calls could not be looked after: %s", error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self, now_s: float) -> None:
        """Once. Raises OSError, RedisError."""
        loop = asyncio.get_running_loop()
        for sid in await loop.run_in_executor(self._calls.writing, _sids, self._calls.directory):
            files = CallFiles(self._calls.directory, sid)
            if await loop.run_in_executor(self._calls.writing, self._is_left, files, now_s):
                if await self._redis.exists(SessionKeys(sid).recorded):
                    continue
                logger.warning("the recording of a call was left behind, and is made now", extra={"sid": sid})
                ended_ms = round(1000 * now_s)
                await loop.run_in_executor(self._calls.rendering, render, files, self._calls.format, ended_ms)
            elif await loop.run_in_executor(self._calls.writing, self._is_old, files, now_s):
                await loop.run_in_executor(self._calls.writing, files.forget)
                logger.info("the recording of a call is deleted, as it is old enough", extra={"sid": sid})

    def _is_left(self, files: CallFiles, now_s: float) -> bool:
        return files.is_raw and files.state_age(now_s) > LEFT_AFTER_S

    def _is_old(self, files: CallFiles, now_s: float) -> bool:
        about = files.about()
        return bool(self._keep_s and about and about.ended_ms and about.ended_ms / 1000 + self._keep_s < now_s)


def _sids(directory: Path) -> list[str]:
    calls = directory / CALLS
    return sorted(path.name for path in calls.iterdir() if path.is_dir()) if calls.is_dir() else []
