"""More than one server: a primary with its replica and the Sentinels that watch it, and a Cluster of three."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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
    """A primary, its replica, and three Sentinels of which two must agree. A failover changes which server is which."""

    def __init__(self, servers: list[EmbeddedServer], lines: list[Line], sentinels: list[Process]) -> None:
        self._servers, self._lines, self.sentinels = servers, lines, sentinels
        self._first = 0

    @property
    def primary(self) -> EmbeddedServer:
        return self._servers[self._first]

    @property
    def replica(self) -> EmbeddedServer:
        return self._servers[1 - self._first]

    @property
    def line(self) -> Line:
        """From the primary to its replica: what is on it when both die is lost."""
        return self._lines[self._first]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/parley"

    def pids(self) -> list[int]:
        """Of the two servers."""
        return [server.process.pid for server in self._servers]

    async def dies(self, lost_s: float = 0.0) -> None:
        """The primary is killed, with so much of what its replica has not got. Until the replica is the primary."""
        if lost_s:
            self.line.delay_s = lost_s
            await asyncio.sleep(2 * lost_s)
        await self._give_up_within(TRY_AGAIN_MS)
        self.primary.kill()
        self.line.cut()
        self.line.delay_s = 0.0
        await self.took_over()

    async def hangs(self) -> None:
        """The primary closes nothing and answers nothing. Until the replica is the primary."""
        await self._give_up_within(TRY_AGAIN_MS)
        os.kill(self.primary.process.pid, signal.SIGSTOP)
        await self.took_over()

    async def took_over(self) -> None:
        """The replica is the primary now, and all Sentinels say so."""
        await until(self.replica.port, "replication", role="master")
        async with asyncio.timeout(LIMIT_S):
            for sentinel in self.sentinels:
                async with client_of(sentinel.port) as client:
                    while await _named(client) != self.replica.port:  # noqa: ASYNC110 - another process: no event
                        await asyncio.sleep(0.02)

    async def back(self) -> None:
        """Whoever died is started as the replica of who took over; whoever hung finds out by itself that it is one now."""
        gone, self._first = self.primary, 1 - self._first
        if gone.process.poll() is not None:
            gone.extra = (*_PRIMARY, "--replicaof", *_where(self.line))
            await gone.start_async()
        else:
            os.kill(gone.process.pid, signal.SIGCONT)
            await until(gone.port, "replication", role="slave")
            async with client_of(gone.port) as client:
                await client.replicaof(*_where(self.line))
        await until(gone.port, "replication", master_link_status="up")
        await self._give_up_within(KEEP_MS)

    async def _give_up_within(self, milliseconds: int) -> None:
        """After this time Sentinels send a replica that follows another address than the primary's there, past our line;
        and before twice this time is over they do not try another failover."""
        for sentinel in self.sentinels:
            async with client_of(sentinel.port) as client:
                await client.execute_command("SENTINEL", "SET", "parley", "failover-timeout", milliseconds)


TRY_AGAIN_MS = 3_000
KEEP_MS = 600_000
_PRIMARY = ("--repl-diskless-sync-delay", "0")
_SENTINEL = f"""
port {{port}}
bind 127.0.0.1
sentinel monitor parley 127.0.0.1 {{primary}} 2
sentinel down-after-milliseconds parley 500
sentinel failover-timeout parley {KEEP_MS}
sentinel myid {{id}}
sentinel known-replica parley 127.0.0.1 {{replica}}
"""
"""What they would find out about each other by themselves takes them up to ten seconds."""
_SENTINELS = 3


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    async with AsyncExitStack() as stack:
        servers, lines = list[EmbeddedServer](), list[Line]()
        for _ in range(2):
            follows = ("--replicaof", *_where(lines[0])) if lines else ()
            server = await stack.enter_async_context(EmbeddedServer(*_PRIMARY, *follows))
            lines.append(await stack.enter_async_context(Line(server.url, delay_s=0.0).open()))
            servers.append(server)
        primary, replica = servers
        await until(replica.port, "replication", master_link_status="up")
        held, sentinels = stack.enter_context(HeldPorts()), list[Process]()
        ports = {f"{number:040x}": held.take() for number in range(1, 1 + _SENTINELS)}
        for name, port in ports.items():
            config = _SENTINEL.format(port=port, primary=primary.port, replica=replica.port, id=name)
            others = [
                f"sentinel known-sentinel parley 127.0.0.1 {ports[other]} {other}\n" for other in ports if other != name
            ]
            sentinel = Process("--sentinel", port=port, config=config + "".join(others))
            stack.callback(sentinel.stop)
            sentinels.append(sentinel)
        for sentinel in sentinels:
            await sentinel.answers()
        async with asyncio.timeout(LIMIT_S):
            for sentinel in sentinels:
                async with client_of(sentinel.port) as client:
                    while not await _knows_all(client):  # noqa: ASYNC110 - another process: no event
                        await asyncio.sleep(0.05)
        yield Watched(servers, lines, sentinels)


def _where(line: Line) -> tuple[str, str]:
    """Host and port."""
    address = urlsplit(line.url)
    return str(address.hostname), str(address.port)


async def _named(sentinel: Redis) -> int:
    """The port of who is the primary."""
    _, port = await sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "parley")
    return int(port)


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
                slots = [slot for slot in range(SLOTS) if self.owner(slot) == number]
                await client.execute_command("CLUSTER", "ADDSLOTSRANGE", slots[0], slots[-1])
                await client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            for other in self.nodes[1:]:
                await clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus)
            async with asyncio.timeout(LIMIT_S):
                for client in clients:
                    while not await _is_whole(client, len(clients)):  # noqa: ASYNC110 - another process: no event
                        await asyncio.sleep(0.05)

    async def begin_to_move(self, slot: int, to: int) -> None:
        """From here on what the owner does not have is asked for at the other one, and made there."""
        source = self.owner(slot)
        async with client_of(self.nodes[to].port) as importing, client_of(self.nodes[source].port) as migrating:
            await importing.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", self._names[source])
            await migrating.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", self._names[to])

    async def move(self, slot: int, to: int, *, within_s: float = 0.0) -> None:
        """As `redis-cli --cluster reshard` does it: key after key, while the slot is in use. `within_s`: take that long."""
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client_of(node.port)) for node in self.nodes]
            source = self.owner(slot)
            if source == to:
                return
            await self.begin_to_move(slot, to)
            while keys := await clients[source].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 2):
                where = ("127.0.0.1", self.nodes[to].port, "", 0, 5000)
                await clients[source].execute_command("MIGRATE", *where, "KEYS", *keys)
                await asyncio.sleep(within_s / 4)
            await clients[to].execute_command("CLUSTER", "SETSLOT", slot, "NODE", self._names[to])
            await clients[source].execute_command("CLUSTER", "SETSLOT", slot, "NODE", self._names[to])
            await clients[3 - to - source].execute_command("CLUSTER", "SETSLOT", slot, "NODE", self._names[to])
            self._moved[slot] = to

    def owner(self, slot: int) -> int:
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
