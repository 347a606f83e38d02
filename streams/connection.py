"""Connections to Redis, and the checks before we trust a server."""

from __future__ import annotations

import logging
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.addresses import Cluster, Sentinels, parse_url
from streams.cluster import ClusterClient, connect_cluster
from streams.errors import ServerUnfit, StreamUnavailable
from streams.pools import Pool
from streams.sentinel import SentinelPool
from streams.sockets import ANSWER_TIMEOUT_S, cancellable, tcp, timeouts

logger = logging.getLogger(__name__)

WAIT_TIMEOUT_S = 10.0
"""The same as ANSWER_TIMEOUT_S for XREADGROUP, which waits for five seconds by itself (`streams.dispatch.BLOCK_MS`)."""

MIN_VERSION = (7, 0)
"""Redis 7.0 commands are the portable floor: sharded pub/sub, `<ms>-*` ids."""


def connect(url: str, *, waits: bool = False, max_connections: int = 8) -> Redis:
    """A client for `url` (see `streams.addresses`). `waits`: for blocking reads.

    When all of its connections are busy, the next command waits for one: a hundred sessions may open at once. A Cluster's
    opens as many as it needs. Raises ServerUnfit when the URL does not read.
    """
    try:
        address = parse_url(url)
    except ValueError as error:
        raise ServerUnfit(f"REDIS_URL is not usable: {error}.") from None
    answer_s = WAIT_TIMEOUT_S if waits else ANSWER_TIMEOUT_S
    if isinstance(address, Cluster):
        return connect_cluster(address, answer_s)
    settings = {**timeouts(answer_s), "timeout": ANSWER_TIMEOUT_S, "max_connections": max_connections}
    pool: Pool
    if isinstance(address, Sentinels):
        pool = SentinelPool.to(address, **settings, **tcp())
    else:
        pool = Pool.from_url(url, **settings, **({} if url.startswith("unix:") else tcp()))
    pool.connection_class = cancellable(pool.connection_class)
    return Redis.from_pool(pool)


async def check_server(redis: Redis) -> str:
    """The server's version, if it can keep our promises.

    Raises StreamUnavailable when nothing answers, ServerUnfit when it is older than 7.0 or may evict keys: an evicted
    stream loses its fence, and with it the promise that nothing is doubled. What a server does not tell is logged.
    """
    try:
        nodes = by_node(await redis.info("server"))
        for name, memory in by_node(await redis.info("memory")).items():
            nodes.setdefault(name, {}).update(memory)
    except (RedisError, OSError) as error:
        raise StreamUnavailable(
            f"no Redis answers at {_where(redis)} ({str(error) or type(error).__name__}). "
            "Start one, or point REDIS_URL at yours."
        ) from error
    versions = []
    for name, node in nodes.items():
        where = name or _where(redis)
        version = str(node.get("valkey_version") or node["redis_version"])
        versions.append(version)
        if tuple(int(part) for part in version.split(".")[:2]) < MIN_VERSION:
            raise ServerUnfit(f"Redis {version} at {where} is too old: Parley needs 7.0 or newer, or any Valkey.")
        policy = node.get("maxmemory_policy")
        if policy is None:  # some managed ones keep it to themselves
            logger.warning(
                "Redis at %s does not tell its maxmemory-policy: look in its provider's settings that it is noeviction,"
                " else it may throw away live sessions",
                where,
            )
        elif policy != "noeviction":
            raise ServerUnfit(
                f"Redis at {where} has maxmemory-policy {policy}: it may throw away live sessions. "
                "Set it with: redis-cli CONFIG SET maxmemory-policy noeviction (a managed service: in its settings)."
            )
    return min(versions)


def by_node(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """An answer to INFO: of a Cluster there is one for each node, of one server its name is empty."""
    return answer if answer and all(isinstance(part, dict) for part in answer.values()) else {"": answer}


def text(value: bytes | str) -> str:
    """What Redis answered, as text: its client's types allow for both, ours are always bytes."""
    return value.decode() if isinstance(value, bytes) else value


def _where(redis: Redis) -> str:
    if isinstance(redis, ClusterClient):
        return ", ".join(redis.nodes_manager.startup_nodes)
    pool = redis.connection_pool
    if isinstance(pool, SentinelPool):
        return f"{pool.service_name}, which Sentinels know"
    options = pool.connection_kwargs
    return str(options.get("path") or f"{options.get('host')}:{options.get('port')}")
