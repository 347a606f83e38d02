"""More than one server: a primary with its replica and the Sentinels that watch it, and a Cluster of three."""

from __future__ import annotations

import asyncio
import functools
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from cli.load.far import Line
from runtime.child import die_with_parent
from runtime.embedded import EmbeddedServer, answering_process, find_server
from runtime.ports import HeldPorts

LIMIT_S = 15.0


class Process:
    """A server with a command line of its own, in a folder of its own."""

    def __init__(self, *arguments: str, port: int, config: str, bus: int = 0) -> None:
        self.port, self.bus = port, bus
        self._directory = tempfile.TemporaryDirectory()
        path = Path(self._directory.name) / "server.conf"
        path.write_text(config)
        self.process = subprocess.Popen(
            [str(find_server().path), str(path), *arguments],
            cwd=self._directory.name,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=functools.partial(die_with_parent, parent=os.getpid()),
        )

    async def answers(self) -> None:
        async with asyncio.timeout(LIMIT_S):
            while answering_process(self.port) != self.process.pid:  # noqa: ASYNC110 - another process: no event
                await asyncio.sleep(0.01)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self._directory.cleanup()


@asynccontextmanager
async def client_of(port: int) -> AsyncIterator[Redis]:
    async with Redis(port=port) as client:
        yield client


async def until(port: int, section: str, **wanted: object) -> None:
    """INFO says all of this."""
    async with asyncio.timeout(LIMIT_S), client_of(port) as client:
        while True:
            info = await client.info(section)
            if all(info.get(name) == value for name, value in wanted.items()):
                return
            await asyncio.sleep(0.02)


class Watched:
    """A primary, its replica, and three Sentinels of which two must agree."""

    def __init__(self, primary: EmbeddedServer, line: Line, replica: EmbeddedServer, sentinels: list[Process]) -> None:
        self.primary, self.replica, self.sentinels = primary, replica, sentinels
        self.line = line
        """from the primary to its replica: what is on it when both die is lost"""

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/parley"

    async def took_over(self) -> None:
        """The replica is the primary now."""
        await until(self.replica.port, "replication", role="master")


_SENTINEL = """
port {port}
bind 127.0.0.1
sentinel monitor parley 127.0.0.1 {primary} 2
sentinel down-after-milliseconds parley 500
sentinel failover-timeout parley 3000
"""


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(EmbeddedServer("--repl-diskless-sync-delay", "0"))
        line = await stack.enter_async_context(Line(primary.url, delay_s=0.0).open())
        where = line.url.partition("127.0.0.1:")[2].partition("/")[0]
        replica = await stack.enter_async_context(EmbeddedServer("--replicaof", "127.0.0.1", where))
        await until(replica.port, "replication", master_link_status="up")
        ports, sentinels = stack.enter_context(HeldPorts()), []
        for _ in range(3):
            port = ports.take()
            sentinel = Process("--sentinel", port=port, config=_SENTINEL.format(port=port, primary=primary.port))
            stack.callback(sentinel.stop)
            sentinels.append(sentinel)
        for sentinel in sentinels:
            await sentinel.answers()
        async with asyncio.timeout(LIMIT_S):
            for sentinel in sentinels:
                async with client_of(sentinel.port) as client:
                    while not await _knows_all(client):  # noqa: ASYNC110 - another process: no event
                        await asyncio.sleep(0.05)
        yield Watched(primary, line, replica, sentinels)


async def _knows_all(sentinel: Redis) -> bool:
    (state,) = await sentinel.execute_command("SENTINEL", "MASTERS")
    known: dict[Any, Any] = state if isinstance(state, dict) else dict(zip(state[::2], state[1::2], strict=True))
    known = {_text(key): _text(value) for key, value in known.items()}
    return (int(known["num-slaves"]), int(known["num-other-sentinels"])) == (1, 2)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


SLOTS = 16_384


class Nodes:
    """Three primaries, each with a third of the slots."""

    def __init__(self, nodes: list[Process]) -> None:
        self.nodes = nodes
        self._names: list[bytes] = []
        self._moved: dict[int, int] = {}

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port}"

    async def form(self) -> None:
        """Meet, share the slots, and wait until all agree."""
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client_of(node.port)) for node in self.nodes]
            for number, client in enumerate(clients):
                self._names.append(await client.execute_command("CLUSTER", "MYID"))
                slots = [slot for slot in range(SLOTS) if self._owner(slot) == number]
                await client.execute_command("CLUSTER", "ADDSLOTSRANGE", slots[0], slots[-1])
                await client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            for other in self.nodes[1:]:
                await clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus)
            async with asyncio.timeout(LIMIT_S):
                for client in clients:
                    while not await _is_whole(client, len(clients)):  # noqa: ASYNC110 - another process: no event
                        await asyncio.sleep(0.05)

    async def move(self, slot: int, to: int, *, within_s: float = 0.0) -> None:
        """As `redis-cli --cluster reshard` does it: key after key, while the slot is in use. `within_s`: take that long."""
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client_of(node.port)) for node in self.nodes]
            source = self._owner(slot)
            if source == to:
                return
            await clients[to].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", self._names[source])
            await clients[source].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", self._names[to])
            while keys := await clients[source].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 2):
                where = ("127.0.0.1", self.nodes[to].port, "", 0, 5000)
                await clients[source].execute_command("MIGRATE", *where, "KEYS", *keys)
                await asyncio.sleep(within_s / 4)
            await clients[to].execute_command("CLUSTER", "SETSLOT", slot, "NODE", self._names[to])
            await clients[source].execute_command("CLUSTER", "SETSLOT", slot, "NODE", self._names[to])
            await clients[3 - to - source].execute_command("CLUSTER", "SETSLOT", slot, "NODE", self._names[to])
            self._moved[slot] = to

    def _owner(self, slot: int) -> int:
        """Which of them has it."""
        return self._moved.get(slot, slot * len(self.nodes) // SLOTS)


async def _is_whole(client: Redis, nodes: int) -> bool:
    info = await client.execute_command("CLUSTER", "INFO")
    text = info if isinstance(info, dict) else dict(line.split(":") for line in _text(info).split("\r\n") if ":" in line)
    return (text["cluster_state"], int(text["cluster_known_nodes"])) == ("ok", nodes)


_NODE = """
port {port}
bind 127.0.0.1
cluster-enabled yes
cluster-port {bus}
cluster-node-timeout 2000
save ""
maxmemory-policy noeviction
"""


@asynccontextmanager
async def clustered() -> AsyncIterator[Nodes]:
    async with AsyncExitStack() as stack:
        ports, processes = stack.enter_context(HeldPorts()), []
        for _ in range(3):
            port, bus = ports.take(), ports.take()
            process = Process(port=port, bus=bus, config=_NODE.format(port=port, bus=bus))
            stack.callback(process.stop)
            processes.append(process)
        for process in processes:
            await process.answers()
        nodes = Nodes(processes)
        await nodes.form()
        yield nodes


@contextmanager
def clustered_outside() -> Iterator[Nodes]:
    """For who has no event loop."""
    with asyncio.Runner() as runner:
        context = clustered()
        nodes = runner.run(context.__aenter__())
        try:
            yield nodes
        finally:
            runner.run(context.__aexit__(None, None, None))
