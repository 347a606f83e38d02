"""The processes that are measured: one of each, started, ready, and ended afterwards."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.record import Arm
from runtime.embedded import EmbeddedServer
from runtime.errors import StartError
from runtime.ports import HeldPorts

_READY_LIMIT_S = 30.0
_STOP_LIMIT_S = 10.0
_OURS = ("PARLEY_", "OPENAI_", "REDIS_URL", "JWT_SECRET", "HOST", "PORT", "LOG_", "NOTIFY_SOCKET")
"""Variables that would make one run another than the next."""


class Stage:
    """A context manager; entering waits until everything is ready. Raises StartError, ServerError."""

    def __init__(self) -> None:
        self.server = EmbeddedServer()
        self.pids: dict[str, int] = {}
        self._stack = ExitStack()
        self._held = HeldPorts()
        self._ports = {name: self._held.take() for name in ("simulator", "relay", "gateway")}

    def url(self, arm: Arm) -> str:
        """Where a client of this arm connects."""
        port = self._ports[{"direct": "simulator", "relay": "relay", "parley": "gateway"}[arm]]
        return f"ws://127.0.0.1:{port}/v1/realtime?model=gpt-realtime"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._held)
            self._directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parley-bench-")))
            stack.enter_context(self.server)
            self.pids["redis"] = self.server.process.pid
            simulator = f"http://127.0.0.1:{self._ports['simulator']}/v1"
            services = {"REDIS_URL": self.server.url, "OPENAI_BASE_URL": simulator, "OPENAI_API_KEY": "bench"}
            at = ("--host", "127.0.0.1", "--port", str(self._ports["simulator"]))
            for name, command, variables in (
                ("simulator", ("simulator", "--answer", "echo=live", *at), {}),
                ("relay", ("bench.relay", str(self._ports["relay"]), self.url("direct")), {}),
                ("bridge", ("realtime_bridge",), services),
                ("gateway", ("gateway",), {**services, "HOST": "127.0.0.1", "PORT": str(self._ports["gateway"])}),
            ):
                stack.callback(_stop, process := self._start(name, command, variables))
                self.pids[name] = process.pid
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    def _start(self, name: str, command: Sequence[str], variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
        address, log = self._directory / f"{name}.ready", self._directory / f"{name}.log"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, log.open("wb") as output:
            ready.bind(str(address))
            ready.settimeout(0.1)
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**environment(), **variables, "NOTIFY_SOCKET": str(address)},
                start_new_session=True,  # the terminal's Ctrl-C is for us; we end them
            )
            for _ in range(round(_READY_LIMIT_S / 0.1)):
                try:
                    ready.recv(1024)
                except TimeoutError:
                    if process.poll() is None:
                        continue
                    break
                return process
        _stop(process)
        raise StartError(f"The {name} did not start:\n{log.read_text(errors='replace')[-2000:]}")


def environment() -> dict[str, str]:
    """Ours, without what would change a service."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**kept, "PARLEY_PARENT_PID": str(os.getpid())}


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
