"""The processes that are measured: one of each, started, ready, and ended afterwards."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.record import Arm
from bench.service import started
from runtime.embedded import EmbeddedServer
from runtime.ports import HeldPorts

_ENTRANCES: dict[Arm, str] = {"direct": "simulator", "relay": "relay", "parley": "gateway", "barest": "barest gateway"}


class Stage:
    """A context manager; entering waits until everything is ready. Raises StartError, ServerError.

    `floor`: with `bench.barest`, too.
    """

    def __init__(self, *, floor: bool = False) -> None:
        self.server = EmbeddedServer()
        self.pids: dict[str, int] = {}
        self._stack = ExitStack()
        self._held = HeldPorts()
        self._ports = {name: self._held.take() for name in ("simulator", "relay", "gateway", "barest gateway")}
        self._floor = floor

    def url(self, arm: Arm) -> str:
        """Where a client of this arm connects."""
        port = self._ports[_ENTRANCES[arm]]
        return f"ws://127.0.0.1:{port}/v1/realtime?model=gpt-realtime"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._held)
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parley-bench-")))
            stack.enter_context(self.server)
            self.pids["redis"] = self.server.process.pid
            simulator = f"http://127.0.0.1:{self._ports['simulator']}/v1"
            services = {"REDIS_URL": self.server.url, "OPENAI_BASE_URL": simulator, "OPENAI_API_KEY": "bench"}
            at = ("--host", "127.0.0.1", "--port", str(self._ports["simulator"]))
            services_of_the_floor = (
                ("barest bridge", ("bench.barest", "bridge", self.url("direct")), services),
                ("barest gateway", ("bench.barest", "gateway", str(self._ports["barest gateway"])), services),
            )
            for name, command, variables in (
                ("simulator", ("simulator", "--answer", "echo=live", *at), {}),
                ("relay", ("bench.relay", str(self._ports["relay"]), self.url("direct")), {}),
                ("bridge", ("realtime_bridge",), services),
                ("gateway", ("gateway",), {**services, "HOST": "127.0.0.1", "PORT": str(self._ports["gateway"])}),
                *(services_of_the_floor if self._floor else ()),
            ):
                self.pids[name] = started(stack, directory, name, command, variables)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()
