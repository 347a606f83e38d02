"""Redis Cluster: redis-py's client, made to keep what the rest of `streams` relies on.

A pipeline goes out as one pipeline to each node, and what a node has redirected is done again where it belongs, in order: an
entry never overtakes the one before it in the same stream. Nothing else is ever sent twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import ClusterNode, ClusterPipeline, PipelineCommand, RedisCluster
from redis.asyncio.connection import Connection, SSLConnection
from redis.cluster import PRIMARY
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    RedisClusterException,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from streams.addresses import Cluster
from streams.sockets import ANSWER_TIMEOUT_S, cancellable, tcp, timeouts

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 1_000
"""To one node: its pool does not wait for a free one, it fails."""

LOOK_AFTER = 5
"""Redirections after which the whole table is looked at: what has moved and was not used since is then known, too. While
it is looked at, what waits for an answer gets it."""
LOOK_EVERY_S = 1.0
"""At most."""

_REDIRECTED = (MovedError, AskError, TryAgainError)
_GONE = (RedisConnectionError, RedisTimeoutError, ClusterDownError)


class ClusterClient(RedisCluster):
    """What the rest of `streams` takes for a `Redis`: the same commands, each on the node that has its key."""

    _looking: asyncio.Task[None] | None = None
    _looked_at = 0.0

    def pipeline(self, transaction: Any | None = None, shard_hint: Any | None = None) -> ClusterPipeline:
        return cast(ClusterPipeline, cast(Any, _Pipeline)(self))  # of its base's abstract attributes redis-py sets none

    async def keys(self, pattern: Any = "*", **options: Any) -> Any:
        """Of all nodes; redis-py asks one of them."""
        return await super().keys(pattern, **{"target_nodes": self.PRIMARIES, **options})

    async def look_again(self) -> None:
        """Ask the nodes who they are and what they have. Raises RedisError, OSError."""
        await self.initialize()
        with _as_redis_error():
            await self.nodes_manager.initialize()

    async def initialize(self, *args: Any, **kwargs: Any) -> RedisCluster:
        with _as_redis_error():
            return await super().initialize(*args, **kwargs)

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        try:
            with _as_redis_error():
                return await super().execute_command(*args, **kwargs)
        finally:
            self._count_redirections()

    def get_node(self, host: str | None = None, port: int | None = None, node_name: str | None = None) -> Any:
        """By name it is asked for who is importing a slot, and has none yet where the Cluster has just grown: then redis-py
        does not know it."""
        node = super().get_node(host, port, node_name)
        if node is None and node_name is not None:
            where, _, number = node_name.rpartition(":")
            node = ClusterNode(where, int(number), PRIMARY, **self.nodes_manager.connection_kwargs)
            self.nodes_manager.set_nodes(self.nodes_manager.nodes_cache, {node.name: node})
        return node if node is None or node_name is None else _Asked(node)

    async def aclose(self) -> None:
        if self._looking is not None and self._looking is not asyncio.current_task():
            self._looking.cancel()
        await super().aclose()

    def _count_redirections(self) -> None:
        if self.reinitialize_counter < LOOK_AFTER or time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return
        self.reinitialize_counter, self._looked_at = 0, time.monotonic()
        self._looking = asyncio.create_task(_look_again(self), name="look at the Cluster")


class _Asked:
    """A node that is importing the slot of a command. What allows it the command goes right before that, on the same
    connection; redis-py sends it on any."""

    def __init__(self, node: ClusterNode) -> None:
        self._node = node

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    async def execute_command(self, *args: Any, asking: bool = False, **kwargs: Any) -> Any:
        if args == ("ASKING",):
            return None
        command = PipelineCommand(1, *args, **kwargs)
        await self._node.execute_pipeline([PipelineCommand(0, "ASKING"), command])
        if isinstance(command.result, Exception):
            raise command.result
        return command.result


@contextmanager
def _as_redis_error() -> Iterator[None]:
    """Nobody can be reached, or a slot is nobody's: of that redis-py makes an exception that is no RedisError."""
    try:
        yield
    except RedisClusterException as error:
        raise RedisConnectionError(str(error)) from error


class _Pipeline(ClusterPipeline):
    """Commands that are redirected are done again one by one, and with each all that comes behind it under the same key."""

    def unlink(self, *names: Any) -> Any:
        """Several of one slot at once; redis-py's takes one."""
        return self.execute_command("UNLINK", *names)

    async def execute(self, raise_on_error: bool = True, allow_redirections: bool = True) -> list[Any]:
        client = cast(ClusterClient, self.cluster_client)
        commands = [(command.args, dict(command.kwargs)) for command in cast(Any, self._execution_strategy)._command_queue]
        try:
            with _as_redis_error():
                results = await super().execute(raise_on_error=False, allow_redirections=False)
        except _GONE:
            await _look_again(client)
            raise
        if any(isinstance(result, _GONE) for result in results):
            await _look_again(client)
        behind: set[Any] = set()
        for at, (args, kwargs) in enumerate(commands):
            slot = await client._determine_slot(*args)
            if slot in behind or isinstance(results[at], _REDIRECTED):
                behind.add(slot)
                try:
                    results[at] = await client.execute_command(*args, **kwargs)
                except (RedisError, OSError) as error:
                    results[at] = error
        if raise_on_error and (failed := next((result for result in results if isinstance(result, Exception)), None)):
            raise failed
        return results


async def _look_again(client: ClusterClient) -> None:
    try:
        await client.look_again()
    except (RedisError, OSError) as error:
        logger.debug("the Cluster cannot be looked at: %s", error)


def connect_cluster(address: Cluster, answer_s: float) -> Redis:
    """A client for a Cluster. As it can do what we need of a `Redis`, it goes for one."""
    kind = cancellable(SSLConnection if address.tls else Connection)
    settings = timeouts(answer_s)
    client = ClusterClient(
        startup_nodes=[cast(Any, ClusterNode(host, port)) for host, port in address.hosts],
        username=address.username,
        password=address.password,
        ssl=address.tls,
        max_connections=MAX_CONNECTIONS,
        reinitialize_steps=0,  # else each fifth redirection closes all connections, with what others wait for: LOOK_AFTER
        **settings,
        **tcp(),
    )
    client.connection_kwargs["connection_class"] = kind
    for node in client.nodes_manager.startup_nodes.values():
        node.connection_class = kind
    return cast(Redis, client)


class ClusterNodes:
    """Which node carries a session's channels: the one that has its keys."""

    together = 1

    def __init__(self, client: ClusterClient) -> None:
        self._client = client
        self._clients: dict[Hashable, Redis] = {}

    def node_of(self, channel: bytes) -> Hashable:
        try:
            node = self._client.nodes_manager.get_node_from_slot(key_slot(channel))
        except RedisClusterException:  # at the moment nobody has it
            node = self._client.get_primaries()[0]
        return (node.host, node.port)

    def slot_of(self, channel: bytes) -> int:
        return key_slot(channel)

    def client(self, node: Hashable) -> Redis:
        if (known := self._clients.get(node)) is not None:
            return known
        host, port = cast(tuple[str, int], node)
        settings = self._client.connection_kwargs
        pool = BlockingConnectionPool(
            connection_class=settings["connection_class"],
            host=host,
            port=port,
            username=settings.get("username"),
            password=settings.get("password"),
            max_connections=1,
            timeout=ANSWER_TIMEOUT_S,
            **tcp(),
            **{**timeouts(ANSWER_TIMEOUT_S), "socket_timeout": None},
        )
        made = self._clients[node] = Redis.from_pool(pool)
        return made

    async def look_again(self) -> None:
        await _look_again(self._client)

    async def aclose(self) -> None:
        """The connections to the nodes."""
        for client in self._clients.values():
            await client.aclose()
