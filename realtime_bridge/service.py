"""The bridge process: what its sessions share, from start to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import socket

import aiohttp

from realtime_bridge.accounting import load_prices
from realtime_bridge.metrics import Metrics
from realtime_bridge.session_bridge import Resources, SessionBridge, kept
from realtime_bridge.settings import BridgeSettings
from realtime_bridge.signing import signing_keys
from realtime_bridge.webhooks import Webhooks
from runtime.errors import StartError
from runtime.heartbeat import heart
from runtime.metrics import exposed
from runtime.notify import ready
from streams.deliveries import Deliveries
from streams.dispatch import Assignments
from streams.errors import ServerUnfit, StreamUnavailable
from streams.hub import open_hub
from streams.sessions import Sessions
from streams.workforce import Workforce

logger = logging.getLogger(__name__)


REAP_EVERY_S = 60.0


async def _reap(sessions: Sessions) -> None:
    while True:
        await asyncio.sleep(REAP_EVERY_S)
        try:
            if abandoned := await sessions.end_abandoned():
                logger.info("%d sessions that nobody held any more have ended", abandoned)
            if gone := await sessions.reap():
                logger.info("%d sessions had run out, and are off the list", gone)
        except StreamUnavailable as error:
            logger.warning("the list of sessions could not be looked through: %s", error)


def _miss(chore: asyncio.Task[None]) -> None:
    """It never ends by itself; where it does all the same, the sessions go on without."""
    if not chore.cancelled() and (error := chore.exception()) is not None:
        logger.error("%s has stopped by a fault of ours", chore.get_name(), exc_info=error)


def _upstream_client() -> aiohttp.ClientSession:
    """Without aiohttp's limit of 100 connections: the hundred and first session would wait for another to end."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


async def serve(settings: BridgeSettings, stop: asyncio.Event) -> None:
    """Bridge sessions until `stop` is set. Raises StartError when Redis is not there or not fit, SettingsError."""
    personas = settings.load_personas()
    prices = load_prices(settings.prices)
    owner = f"{socket.gethostname()}:{os.getpid()}"
    beat = heart(settings.heartbeat)
    if settings.is_simulated:
        logger.warning("NO MODEL IS BEHIND THIS: the simulator answers. Set OPENAI_API_KEY to talk to a real one")
    try:
        metrics = Metrics()
        async with open_hub(settings.redis_url) as hub, _upstream_client() as http, exposed(metrics, settings):
            assignments = Assignments(hub, "bridge", owner)
            await assignments.open()
            resources = Resources(settings, personas, hub, http, owner, prices, metrics)
            workforce = Workforce(
                assignments,
                lambda assignment: SessionBridge(assignment, resources),
                settings.max_sessions,
                beat,
                settings.drain_s,
            )
            metrics.count_sessions(lambda: workforce.sessions)
            chores = [asyncio.create_task(_reap(Sessions(hub.redis, kept(settings, hub.redis))), name="reap")]
            if settings.webhook_url is not None and settings.webhook_secret is not None:
                keys = signing_keys(settings.webhook_secret.get_secret_value())
                webhooks = Webhooks(Deliveries(hub.redis), http, settings.webhook_url, keys)
                chores.append(asyncio.create_task(webhooks.run(), name="webhooks"))
            for chore in chores:
                chore.add_done_callback(_miss)
            ready()
            try:
                await workforce.run(stop)
            finally:
                for chore in chores:
                    chore.cancel()
                await asyncio.wait(chores)
    except (StreamUnavailable, ServerUnfit) as error:
        raise StartError(str(error)) from error
