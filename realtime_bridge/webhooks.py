"""Tells the app's backend what is in the outbox (`streams.deliveries`), apart from all conversations."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence

import aiohttp

from realtime_bridge.redelivery import GiveUp, Told, TryAgain, after
from realtime_bridge.signing import signed_headers
from runtime.logs import SessionLogger
from streams.deliveries import Deliveries, Delivery
from streams.errors import StreamUnavailable

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0

ANSWER_WITHIN_S = 10.0
"""A backend that works longer on it should put it aside, and answer first."""

TAKEN_FOR_MS = 30_000
"""Past a try's end: then its bridge has died."""

AT_ONCE = 16
"""Tries that one bridge makes side by side: a backend that hangs holds up no more than these."""


class Webhooks:
    """One bridge process's part in it."""

    def __init__(
        self, deliveries: Deliveries, http: aiohttp.ClientSession, url: str, keys: Sequence[bytes], *, patience: float = 1.0
    ) -> None:
        """`patience`: what all waits are multiplied by."""
        self._deliveries, self._http, self._url, self._keys = deliveries, http, url, tuple(keys)
        self._patience = patience
        self._places = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Tell what is due, until cancelled; what is under way then is told again by another bridge."""
        async with asyncio.TaskGroup() as tries:
            while True:
                await self._places.acquire()
                if (delivery := await self._take()) is None:
                    self._places.release()
                    await asyncio.sleep(LOOK_EVERY_S * self._patience)
                else:
                    tries.create_task(self._tell(delivery), name=f"webhook {delivery.id}")

    async def _take(self) -> Delivery | None:
        try:
            return await self._deliveries.take(TAKEN_FOR_MS)
        except StreamUnavailable as error:
            logger.warning("what is to be told cannot be looked for: %s", error)
            return None

    async def _tell(self, delivery: Delivery) -> None:
        log = SessionLogger(logger, delivery.sid)
        try:
            status = await self._post(delivery, log)
            match after(delivery.tries, status, random.random()):
                case Told():
                    log.info("the app's backend was told of the end", extra={"tries": delivery.tries})
                    await self._deliveries.done(delivery)
                case TryAgain(in_s=in_s):
                    await self._deliveries.again(delivery, in_s * self._patience)
                case GiveUp(because=because):
                    log.error("the app's backend was not told of the end: %s", because)
                    await self._deliveries.done(delivery)
        except StreamUnavailable as error:
            log.warning("the app's backend may be told of the end once more: %s", error)
        finally:
            self._places.release()

    async def _post(self, delivery: Delivery, log: SessionLogger) -> int | None:
        """The status that was answered; None for no answer."""
        signed = signed_headers(delivery.id, int(time.time()), delivery.body, self._keys)
        headers = {"Content-Type": "application/json", "User-Agent": "Parley", **signed}
        timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S * self._patience)
        # A redirect is not followed: it would take the conversation to where nobody has said that it may go.
        posting = self._http.post(self._url, data=delivery.body, headers=headers, timeout=timeout, allow_redirects=False)
        try:
            async with posting as response:
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("the app's backend gave no answer at try %d: %s", delivery.tries, type(error).__name__)
            return None
        if not 200 <= status < 300:
            log.warning("the app's backend answered %d at try %d", status, delivery.tries)
        return status
