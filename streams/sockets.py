"""How a connection to Redis is set up, whoever opens it: every default of redis-py that matters, set by us.

Its own abort a blocking read after 5 s and re-send a write up to ten times. Here nothing is re-sent: `streams.producer`
does, because it knows that the append script refuses what is already stored.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.maint_notifications import MaintNotificationsConfig

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 5.0
"""How long a command may go unanswered before the connection counts as dead."""

_KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}


def tcp() -> dict[str, Any]:
    """Of a connection over TCP: keepalive finds peers that are gone."""
    return {"socket_keepalive": True, "socket_keepalive_options": _KEEPALIVE}


def timeouts(answer_s: float) -> dict[str, Any]:
    """Of any connection."""
    return {
        "socket_timeout": answer_s,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "health_check_interval": 0,
        # While they are on, the pool takes an idle connection that the server has closed for a good one.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }


def cancellable(kind: type[Any]) -> type[Any]:
    """The same class of connections, but one that can be cancelled while it sends."""
    return type("Connection", (_CancellableSend, kind), {}) if sys.version_info < (3, 12) else kind


class _CancellableSend(AbstractConnection):
    """redis-py sends inside `asyncio.wait_for`. Before Python 3.12 that swallows a cancellation which comes just as the
    send is done: the task that was to end goes on, and whoever waits for its end waits for ever."""

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        limit, self.socket_timeout = self.socket_timeout, None  # None: redis-py does without `wait_for`
        try:
            async with asyncio.timeout(limit):
                await super().send_packed_command(command, check_health)
        except TimeoutError:
            await self.disconnect(nowait=True)
            raise RedisTimeoutError("Timeout writing to socket") from None
        finally:
            self.socket_timeout = limit
