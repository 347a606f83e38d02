"""Processes that the harness has started itself, and may break: gateways, transcoders, bridges, on a server of their own.

What dies is started again at the same address, as an orchestrator does.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

from cli.load.faults import Fault, Kind, Service
from cli.load.meeting import Meeting, meeting
from cli.restarts import Restart, RestartPolicy
from cli.supervisor import Child, ChildSpec, Supervisor
from runtime.ports import HeldPorts

BACK_AFTER_S = 1.0
DRAIN_S = 1.0
"""Over which a process that is told to stop sends its clients, or sessions, elsewhere."""
TELL_WITHIN_S = 10.0
_TASKS = re.compile(r"\b(\d+) tasks: ")
_MODULES: dict[Service, str] = {"gateway": "gateway", "transcoder": "transcoder", "bridge": "realtime_bridge"}
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "restart": signal.SIGTERM}
_OURS = ("PARLEY_", "OPENAI_", "REDIS_URL", "JWT_", "LOG_")
"""Variables that would make one run another than the next."""


class _Always(RestartPolicy):
    """The harness has killed it: that says nothing about it."""

    def died(self, now: float) -> Restart:
        return Restart(BACK_AFTER_S)


class Fleet:
    """Who runs, and how to break it."""

    def __init__(self, children: list[Child], urls: list[str], meeting: Meeting) -> None:
        self.urls, self.redis = urls, meeting.redis
        self._meeting = meeting
        self._children = children
        self._tasks_of: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def pids_by_service(self) -> dict[str, list[int]]:
        """`redis` and, where it has its own, `model` are among them."""
        found: dict[str, list[int]] = {"redis": self._meeting.pids()}
        for child in self._children:
            if child.process is not None and child.process.returncode is None:
                found.setdefault(child.spec.name.rpartition("-")[0], []).append(child.process.pid)
        return found

    def of(self, service: Service) -> list[Child]:
        return [child for child in self._children if child.spec.name.startswith(service)]

    def befallen(self, fault: Fault, busy: Collection[int] = ()) -> list[Child]:
        """Whom it befalls: of those that are ready the `busy` first (process ids). The death of others shows nothing."""
        service = fault.kind.service
        assert service is not None
        assert service != "redis"
        all_of = self.of(service)
        ready = [child for child in all_of if child.ready.is_set() and child.is_running] or all_of
        first, count = fault.victim % len(ready), max(1, len(all_of) // 2) if fault.kind.is_half else 1
        in_turn = [*ready[first:], *ready[:first]]
        return sorted(in_turn, key=lambda child: child.process is None or child.process.pid not in busy)[:count]

    def breaks(self, fault: Fault, children: Sequence[Child]) -> str | None:
        """Do it to them; a gateway's address."""
        for process in (child.process for child in children):
            if process is None or process.returncode is not None:
                continue
            process.send_signal(_SIGNALS[fault.kind.how])
            if fault.kind.how == "stop":
                task = asyncio.create_task(_wake(process, fault.kind.seconds))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        port = children[0].spec.environment.get("PORT")
        return f"http://127.0.0.1:{port}" if port else None

    async def break_redis(self, fault: Fault) -> None:
        """Until it is over."""
        await self._meeting.breaks(fault)

    async def awake(self) -> None:
        """Everybody runs."""
        await asyncio.gather(*self._tasks)
        await asyncio.gather(*(child.ready.wait() for child in self._children))

    def memory_mb(self) -> dict[str, float]:
        """Resident, of each process that runs."""
        return {name: _resident_mb(pid) for name, pid in self.pids().items()}

    def pids(self) -> dict[str, int]:
        """Of those that run, by their name."""
        return {
            child.spec.name: child.process.pid
            for child in self._children
            if child.process is not None and child.process.returncode is None
        }

    async def tasks(self) -> dict[str, int]:
        """How many each process has. Raises TimeoutError when one does not say it."""
        self._tasks_of.clear()
        for pid in self.pids().values():
            os.kill(pid, signal.SIGUSR1)
        async with asyncio.timeout(TELL_WITHIN_S):
            while len(self._tasks_of) < len(self._children):  # noqa: ASYNC110 - lines of other processes
                await asyncio.sleep(0.02)
        return dict(self._tasks_of)

    def wrote(self, name: str, line: str) -> None:
        """A process has written this."""
        if told := _TASKS.search(line):
            self._tasks_of[name] = int(told[1])


class _Written:
    """What processes write: in a file, where one is wanted, and told to `hear` with the name of who wrote it."""

    def __init__(self, path: Path | None) -> None:
        self._file = None if path is None else path.open("w")
        self.hear: Callable[[str, str], None] = lambda name, line: None

    def show(self, spec: ChildSpec, line: str) -> None:
        self.hear(spec.name, line)
        self.say(f"{spec.name} │ {line}")

    def say(self, sentence: str) -> None:
        if self._file is not None:
            self._file.write(f"{sentence}\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


@asynccontextmanager
async def fleet(
    base_url: str | None,
    each: int,
    log: Path | None = None,
    grace_s: float = 60.0,
    *,
    bridges: int | None = None,
    kinds: Sequence[Kind] = (),
    answers: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Fleet]:
    """So many of each service, ready; of bridges another number, where one is given. Raises StartError, ServerError.

    `kinds`: what shall go wrong, as far as something has to be prepared for it. Without a base URL they have a simulator of
    their own, in a process that takes `answers` as its options. `settings`: variables of every process, for those of here.
    """
    async with AsyncExitStack() as stack:
        written = stack.enter_context(closing(_Written(log)))
        place = await stack.enter_async_context(meeting(kinds))
        supervisor = await stack.enter_async_context(Supervisor(written.show, written.say, _Always))
        ports = stack.enter_context(HeldPorts())
        specs = list[ChildSpec]()
        if base_url is None:
            port = ports.take()
            base_url = f"http://127.0.0.1:{port}/v1"
            specs.append(_model(port, answers))
        recordings = supervisor.directory / "recordings"
        common = {**_variables(place.url, base_url, recordings, grace_s), **(settings or {})}
        gateways = [ports.take() for _ in range(each)]
        specs += [_spec("gateway", n, {**common, "PORT": str(port)}) for n, port in enumerate(gateways, 1)]
        specs += [_spec("transcoder", n, common) for n in range(1, each + 1)]
        specs += [_spec("bridge", n, common) for n in range(1, (bridges or each) + 1)]
        await supervisor.start(specs)
        ships = Fleet(supervisor.children, [f"http://127.0.0.1:{port}" for port in gateways], place)
        written.hear = ships.wrote
        yield ships
        for child in supervisor.children:
            if child.process is not None and child.process.returncode is None:
                child.process.send_signal(signal.SIGCONT)


def _variables(redis_url: str, base_url: str, recordings: Path, grace_s: float) -> dict[str, str]:
    """Of every process, but for a gateway's port."""
    return {
        **{name: "" for name in os.environ if name.startswith(_OURS)},
        "REDIS_URL": redis_url,
        "OPENAI_BASE_URL": base_url,
        "OPENAI_API_KEY": "simulator",
        "HOST": "127.0.0.1",
        "LOG_LEVEL": "INFO",
        "PARLEY_GRACE_S": str(grace_s),
        "PARLEY_DECODERS": "1",
        "PARLEY_DRAIN_S": str(DRAIN_S),
        "PARLEY_RECORDINGS": str(recordings),
        "PARLEY_TRANSCRIPTION_MODEL": "none",
    }


def _spec(service: Service, number: int, variables: Mapping[str, str]) -> ChildSpec:
    command = [sys.executable, "-m", _MODULES[service]]
    return ChildSpec(f"{service}-{number}", command, variables, stop_order=0 if service == "gateway" else 1)


def _model(port: int, answers: Sequence[str]) -> ChildSpec:
    """A simulator, which goes last."""
    command = [sys.executable, "-m", "simulator", "--host", "127.0.0.1", "--port", str(port), *answers]
    return ChildSpec("model-1", command, stop_order=2)


async def _wake(process: asyncio.subprocess.Process, seconds: float) -> None:
    try:
        await asyncio.sleep(seconds)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)


def _resident_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
