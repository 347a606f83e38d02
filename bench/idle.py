"""What a connection costs on which nobody speaks: thousands of event streams, with tokens and keepalives, and no model.

Beside them as many on a bare server of the same library, which sends the same keepalives and does nothing else: what is
above that is ours.
"""

from __future__ import annotations

import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
from redis import Redis

from bench.idle_record import Idle, IdleArm
from bench.messages import IdleOrder, IdleReport
from bench.record import LoadFailed
from bench.service import environment, started
from cli.load import processes
from gateway.transports.sse import KEEPALIVE_S
from runtime.embedded import EmbeddedServer
from runtime.ports import HeldPorts

CONNECTIONS = 10_000
ARMS: tuple[IdleArm, ...] = ("bare", "parley")
WATCHED_S = 2 * KEEPALIVE_S
"""Each connection gets two keepalives."""
SETTLE_S = 2.0
LEAVE_LIMIT_S = 60.0
SPARE_FILES = 500
"""That a process has open besides its clients."""
_OWN_FILES = 64
"""That the server may have opened meanwhile for itself: its connections to Redis."""
_FREE_AGAIN_S = 1.0


class TooFewFiles(LoadFailed):
    """The system allows fewer open files than it needs."""


def allow_files(connections: int) -> None:
    """Let this process, and those that it starts, have so many open at once. Raises TooFewFiles."""
    wanted = connections + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    if hard not in (resource.RLIM_INFINITY,) and hard < wanted:
        raise TooFewFiles(
            f"{connections:,} connections need {wanted:,} open files, and this system allows {hard:,}:"
            f" raise it (ulimit -Hn {wanted}, as root), or ask for fewer (--idle {hard - SPARE_FILES})."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def measure(connections: int = CONNECTIONS) -> Iterator[Idle]:
    """One arm after the other, the bare server first. Raises TooFewFiles, LoadFailed, StartError, ServerError."""
    allow_files(connections)
    for arm in ARMS:
        with ExitStack() as stack:
            yield _measure(stack, arm, connections)


def _measure(stack: ExitStack, arm: IdleArm, connections: int) -> Idle:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parley-bench-")))
    held, secret = stack.enter_context(HeldPorts()), secrets.token_hex(32)
    port, redis = held.take(), None
    if arm == "bare":
        pid = started(stack, directory, "relay", ("bench.relay", str(port), ""), {})
        pids, path = {"relay": pid}, "/idle"
    else:
        server = stack.enter_context(EmbeddedServer())
        redis = stack.enter_context(Redis.from_url(server.url))
        variables = {"REDIS_URL": server.url, "HOST": "127.0.0.1", "PORT": str(port), "LOG_LEVEL": "WARNING"}
        variables |= {"PARLEY_AUTH": "required", "JWT_SECRET": secret}
        pid = started(stack, directory, "gateway", ("gateway",), variables)
        pids, path = {"gateway": pid, "redis": server.process.pid}, "/v1/realtime/sse?model=gpt-realtime"
    with _listeners(IdleOrder(f"http://127.0.0.1:{port}{path}", 1, secret)) as (_, one):
        one.ask()  # what the first client needs once is nobody's
    before, store_before, files_before = _memory(pids), _used_mb(redis), _files(pid)
    with _listeners(IdleOrder(f"http://127.0.0.1:{port}{path}", connections, secret)) as (client, all_):
        opened = all_.ask()
        time.sleep(SETTLE_S)
        first, cpu_before, machine_before = (
            all_.ask(),
            {n: processes.cpu(p).own for n, p in pids.items()},
            processes.machine(),
        )
        client_before, began = processes.cpu(client).own, time.monotonic()
        time.sleep(WATCHED_S)
        seconds = time.monotonic() - began
        cpu = {name: (processes.cpu(each).own - cpu_before[name]) / seconds for name, each in pids.items()}
        client_cpu = (processes.cpu(client).own - client_before) / seconds
        machine_after, last = processes.machine(), all_.ask()
        held_mb, store, files = _memory(pids), _used_mb(redis), _files(pid)
    total = machine_after.total - machine_before.total
    busy = max(0.0, total - (machine_after.idle - machine_before.idle))
    left_s = _until_left(pid, files_before)
    return Idle(
        arm=arm,
        connections=connections,
        open=last.open,
        refusals=last.refusals or opened.refusals,
        opened_s=opened.opened_s,
        seconds=seconds,
        keepalives=last.keepalives - first.keepalives,
        cpu_ms_a_second={**cpu, "client": client_cpu},
        busy=busy / total * 100,
        others=max(0.0, busy - (sum(cpu.values()) + client_cpu) * seconds) / total * 100,
        memory_before=before,
        memory=held_mb,
        memory_after=_memory(pids),
        store_mb=store - store_before,
        files=files - files_before,
        files_left=_files(pid) - files_before,
        left_s=left_s,
    )


class _Listeners:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._asked = False

    def ask(self) -> IdleReport:
        """How they are. Raises LoadFailed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._asked:
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        self._asked = True
        if not (line := self._process.stdout.readline()):
            raise LoadFailed(f"The process of the idle listeners has ended with {self._process.wait()}.")
        return msgspec.json.decode(line, type=IdleReport)


@contextmanager
def _listeners(order: IdleOrder) -> Iterator[tuple[int, _Listeners]]:
    """They leave with the context."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.idle_load", msgspec.json.encode(order).decode()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        start_new_session=True,
    )
    try:
        yield process.pid, _Listeners(process)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def _until_left(pid: int, files: int) -> float:
    """How long it takes until the server has let go of all of them."""
    began = time.monotonic()
    while _files(pid) > files + _OWN_FILES and time.monotonic() - began < LEAVE_LIMIT_S:
        time.sleep(0.1)
    took = time.monotonic() - began
    time.sleep(_FREE_AGAIN_S)
    return took


def _memory(pids: dict[str, int]) -> dict[str, processes.Memory]:
    return {name: processes.memory(pid) for name, pid in pids.items()}


def _files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _used_mb(redis: Redis | None) -> float:
    """What the server itself has given out."""
    return 0.0 if redis is None else redis.info("memory")["used_memory"] / (1 << 20)
