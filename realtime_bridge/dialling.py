"""Dial the model's server until it answers, or until there is no sense in it."""

from __future__ import annotations

import asyncio
import random

import aiohttp

from realtime_bridge import retry
from realtime_bridge.dialects import realtime_url
from realtime_bridge.errors import UpstreamError
from realtime_bridge.settings import BridgeSettings
from realtime_bridge.upstream import Upstream, dial
from runtime.logs import SessionLogger
from streams import down

UNREACHABLE = "The model cannot be reached at the moment. Please try again later."
LOST = "The connection to the model broke, and could not be mended. Please connect again."


class NoUpstream(Exception):
    """There is no socket to be had; what the client is told of it."""

    def __init__(self, told: down.Failed) -> None:
        self.told = told
        super().__init__(told.message)


class Dialling:
    """One session's way to the model."""

    def __init__(self, http: aiohttp.ClientSession, settings: BridgeSettings, log: SessionLogger) -> None:
        self._http, self._log = http, log
        self._url = realtime_url(settings.openai_base_url, settings.openai_realtime_model)
        self._key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
        self._dialect = settings.dialect

    async def once(self) -> Upstream:
        """Raises UpstreamError."""
        return await dial(self._http, self._url, self._key, dialect=self._dialect)

    async def until_there(self, broke: UpstreamError | None = None) -> Upstream:
        """`broke`: why there is none; a moment passes before the first try then, for a thousand others were on that server,
        too. Raises NoUpstream."""
        failures = 0
        error = broke
        while True:
            if error is not None:
                failures += 1
                await asyncio.sleep(self._wait(failures, error))
            try:
                return await self.once()
            except UpstreamError as failed:
                error = failed
                self._log.warning("no upstream yet: %s", error, extra={"code": error.code})

    def _wait(self, failures: int, error: UpstreamError) -> float:
        decision = retry.after(failures, error, random.random())
        if isinstance(decision, retry.Wait):
            return decision.seconds
        self._log.error("no upstream: %s", decision.because, extra={"code": error.code})
        # Who it is and where is for the operator; a client is told what it can do.
        told = UNREACHABLE if error.retryable else decision.because
        raise NoUpstream(down.Failed(code=error.code, message=told)) from error
