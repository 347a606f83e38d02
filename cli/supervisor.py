"""The children of `parley up`: started, watched, shown, started again, and stopped in order.

A child says that it takes work by `READY=1` on $NOTIFY_SOCKET (the sd_notify protocol; MAINPID says who). It lives in a
session of its own, so that the terminal's Ctrl-C reaches only us, and the kernel ends it when we are killed hard.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import shutil
import signal
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from cli.errors import ChildEnded
from cli.restarts import GiveUp, RestartPolicy
from runtime.child import die_with_parent
from runtime.errors import StartError

T = TypeVar("T")

KEPT_LINES = 20
START_LIMIT_S = 30.0
STOP_LIMIT_S = 10.0

_PROBE_S = 0.005
_LINE_LIMIT = 64 * 1024  # bytes; a longer line is shown in pieces
_LAST_OUTPUT_S = 1.0  # for what a child wrote before it ended, and whatever it started still keeps open
_SOCKET_PATH_LIMIT = 100  # bytes: sun_path holds 108 on Linux, 104 on macOS


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to start, and how it is shown and stopped."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """On top of ours."""
    colour: str = "white"
    stop_order: int = 0
    """Children with the lowest number stop first; equal ones at the same time."""
    probe: Callable[[int], bool] | None = None
    """Asked with the process id whether it is ready, for a program that does not say so by itself."""
    quiet: bool = False
    """Its lines are kept for a sentence about its end, but not shown."""


@dataclass(slots=True, eq=False)
class Child:
    """One process of ours, across its restarts."""

    spec: ChildSpec
    policy: RestartPolicy
    process: asyncio.subprocess.Process | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    restarts: int = 0
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    errors: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))

    @property
    def is_running(self) -> bool:
        """False for one that has ended, also where nobody has started it again yet."""
        return self.process is not None and self.process.returncode is None

    @property
    def last_words(self) -> str:
        """Its own sentence about why it ended (`name: sentence` on standard error), else the last line it wrote."""
        errors = [line.strip() for line in self.errors if line.strip()]
        for at in range(len(errors) - 1, -1, -1):
            if found := re.match(r"[a-z_]+: (.+)", errors[at]):  # log records start with the time
                return " ".join([found[1], *errors[at + 1 :]])
        lines = [line.strip() for line in self.lines if line.strip()]
        return errors[-1] if errors else lines[-1] if lines else ""


class Supervisor:
    """Children as a context manager: on leaving it they are stopped, whatever happened.

    `show(spec, line)` gets what the children write, `say(sentence)` what there is to tell about them.
    """

    def __init__(
        self,
        show: Callable[[ChildSpec, str], None],
        say: Callable[[str], None],
        policy: Callable[[], RestartPolicy] = RestartPolicy,
    ) -> None:
        self._show, self._say, self._policy = show, say, policy
        self._children: list[Child] = []
        self._keepers: set[asyncio.Task[None]] = set()
        self._ready_pids: set[int] = set()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._directory: Path | None = None
        self._notify_path = ""
        self._notify: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        self._directory = directory = _short_directory()
        self._notify_path = str(directory / "notify")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind(self._notify_path)
        self._notify, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Notifications(self._notified), sock=sock
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.stop()
        if self._notify is not None:
            self._notify.close()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
        if not self._failure.cancel() and not self._failure.cancelled():
            self._failure.exception()  # known, or of no interest any more

    @property
    def directory(self) -> Path:
        """A temporary directory that goes with us."""
        assert self._directory is not None, "enter the supervisor first"
        return self._directory

    @property
    def children(self) -> list[Child]:
        """Those that were started."""
        return self._children

    @property
    def waiting_for(self) -> list[str]:
        """The children that are not ready."""
        return [child.spec.name for child in self._children if not child.ready.is_set()]

    async def start(self, specs: Sequence[ChildSpec], limit_s: float = START_LIMIT_S) -> None:
        """Start them all at once and wait until each is ready.

        Raises ChildEnded when one of them ends, StartError when one is not ready after `limit_s` seconds.
        """
        children = [Child(spec, self._policy()) for spec in specs]
        self._children += children
        for child in children:
            task = asyncio.create_task(self._keep(child), name=f"keep {child.spec.name}")
            self._keepers.add(task)
            task.add_done_callback(self._keeper_ended)
        try:
            async with asyncio.timeout(limit_s):
                await self.during(_all_ready(children))
        except TimeoutError:
            late = [child for child in children if not child.ready.is_set()]
            words = "; ".join(f"{c.spec.name} said last: {c.last_words}" for c in late if c.last_words)
            raise StartError(
                f"Not ready after {limit_s:.0f} s: {', '.join(c.spec.name for c in late)}." + (f" {words}" if words else "")
            ) from None

    async def during(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`; when meanwhile a child ends for good, cancel it and raise that ChildEnded."""
        task = asyncio.create_task(work)
        try:
            await asyncio.wait((task, self._failure), return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                self._failure.result()
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def watch(self) -> None:
        """Keep the children running until one has ended too often. Raises ChildEnded."""
        await asyncio.shield(self._failure)

    async def stop(self) -> None:
        """Ask the children to end, in order, and end those that have not after ten seconds."""
        self._stopping.set()
        for order in sorted({child.spec.stop_order for child in self._children}):
            running = [c.process for c in self._children if c.spec.stop_order == order and c.process is not None]
            running = [process for process in running if process.returncode is None]
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
            await self._ended(running)
        if self._keepers:
            await asyncio.wait(self._keepers)

    def hurry(self) -> None:
        """Do not wait any longer for children that are asked to end."""
        self._hurry.set()

    async def _ended(self, processes: Sequence[asyncio.subprocess.Process]) -> None:
        if not processes:
            return
        ends = asyncio.gather(*(process.wait() for process in processes))
        hurry = asyncio.create_task(self._hurry.wait())
        try:
            await asyncio.wait((ends, hurry), timeout=STOP_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
            for process in processes:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
            await ends
        finally:
            hurry.cancel()

    async def _keep(self, child: Child) -> None:
        """Run the child, again and again as its policy allows. Raises ChildEnded when that is over."""
        name = child.spec.name
        while not self._stopping.is_set():
            code = await self._run(child)
            if self._stopping.is_set():
                return
            how = _how_it_ended(code)
            if not child.ready.is_set() and not child.restarts:
                raise ChildEnded(name, "did not start" if code >= 0 and child.last_words else how, child.last_words)
            match child.policy.died(time.monotonic()):
                case GiveUp(deaths, within_s):
                    raise ChildEnded(name, f"ended {deaths} times within {within_s:.0f} s", child.last_words or how)
                case restart:
                    child.ready.clear()
                    child.restarts += 1
                    self._say(f"{name} {how} and is started again.")
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), restart.wait_s)

    async def _run(self, child: Child) -> int:
        """One life of the child; its exit code, negative for a signal."""
        process, readers = await self._spawn(child)
        tasks = [asyncio.create_task(reader) for reader in readers]
        probe = asyncio.create_task(self._probe(child, process))
        child.process = process
        if self._stopping.is_set():  # `stop` did not see it
            process.kill()
        if process.pid in self._ready_pids:  # it was faster than our book-keeping
            child.ready.set()
        try:
            code = await process.wait()
            _sweep(process.pid)
            await asyncio.wait(tasks, timeout=_LAST_OUTPUT_S)
            return code
        finally:
            for task in (*tasks, probe):
                task.cancel()
            await asyncio.wait((*tasks, probe))

    async def _spawn(self, child: Child) -> tuple[asyncio.subprocess.Process, list[Coroutine[Any, Any, None]]]:
        spec = child.spec
        environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "PARLEY_PARENT_PID": str(os.getpid()),
            "NOTIFY_SOCKET": self._notify_path,
            **spec.environment,
        }
        # Pipes of our own: asyncio's would keep `wait()` waiting for whatever the child has started.
        (out, their_out), (err, their_err) = os.pipe(), os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *spec.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=their_out,
                stderr=their_err,
                env=environment,
                start_new_session=True,
                preexec_fn=functools.partial(die_with_parent, parent=os.getpid()),
            )
        except OSError as error:
            os.close(out)
            os.close(err)
            raise ChildEnded(spec.name, "could not be started", str(error)) from error
        finally:
            os.close(their_out)
            os.close(their_err)
        return process, [self._read(child, out, error=False), self._read(child, err, error=True)]

    async def _read(self, child: Child, descriptor: int, *, error: bool) -> None:
        def take(line: bytes) -> None:
            text = line.decode(errors="replace").rstrip("\r")
            child.lines.append(text)
            if error:
                child.errors.append(text)
            if not child.spec.quiet:
                self._show(child.spec, text)

        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
        )
        rest = b""
        try:
            while data := await reader.read(_LINE_LIMIT):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    take(line)
                if len(rest) >= _LINE_LIMIT:
                    take(rest)
                    rest = b""
        finally:
            if rest:
                take(rest)
            transport.close()

    async def _probe(self, child: Child, process: asyncio.subprocess.Process) -> None:
        if child.spec.probe is None:
            return
        while not child.spec.probe(process.pid):  # noqa: ASYNC110 - another process: no event to wait for
            await asyncio.sleep(_PROBE_S)
        self._notified("READY=1", process.pid)

    def _notified(self, state: str, pid: int) -> None:
        if state != "READY=1":
            return
        self._ready_pids.add(pid)
        for child in self._children:
            if child.process is not None and child.process.pid == pid and not child.ready.is_set():
                child.ready.set()
                if child.restarts:
                    self._say(f"{child.spec.name} is back.")

    def _keeper_ended(self, task: asyncio.Task[None]) -> None:
        self._keepers.discard(task)
        if task.cancelled() or (error := task.exception()) is None or self._failure.done():
            return
        self._failure.set_exception(error)


class _Notifications(asyncio.DatagramProtocol):
    def __init__(self, notified: Callable[[str, int], None]) -> None:
        self._notified = notified

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        fields = dict(line.split("=", 1) for line in data.decode(errors="replace").split("\n") if "=" in line)
        if fields.get("READY") == "1" and fields.get("MAINPID", "").isdecimal():
            self._notified("READY=1", int(fields["MAINPID"]))


async def _all_ready(children: Sequence[Child]) -> None:
    for child in children:
        await child.ready.wait()


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def _sweep(session: int) -> None:
    """End what a dead child has left behind in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(session, signal.SIGKILL)


def _short_directory() -> Path:
    """A temporary directory whose path leaves room for a socket's name."""
    directory = tempfile.mkdtemp(prefix="parley-")
    if len(os.fsencode(directory)) > _SOCKET_PATH_LIMIT - len("/notify"):
        os.rmdir(directory)
        directory = tempfile.mkdtemp(prefix="parley-", dir="/tmp")
    return Path(directory)
