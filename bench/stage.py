"""The processes that are measured: one of each, started, ready, and ended afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.record import Arm
from bench.service import started
from runtime.embedded import EmbeddedServer
from runtime.ports import HeldPorts

Service = tuple[str, Sequence[str], Mapping[str, str]]
"""Its name here, what is run as a module, and its variables."""


class Stage:
    """A context manager; entering waits until everything is ready. Raises StartError, ServerError."""

    doors: Mapping[Arm, str] = {"direct": "simulator", "relay": "relay", "parley": "gateway"}
    """whom the clients of each arm are connected to"""

    def __init__(self) -> None:
        self.server = EmbeddedServer()
        self.pids: dict[str, int] = {}
        self._stack = ExitStack()
        self._held = HeldPorts()
        self._ports = {name: self._held.take() for name in set(self.doors.values())}

    def url(self, arm: Arm) -> str:
        """Where a client of this arm connects."""
        return f"ws://127.0.0.1:{self._ports[self.doors[arm]]}/v1/realtime?model=gpt-realtime"

    def services(self, directory: Path, simulator: str, shared: Mapping[str, str]) -> Iterator[Service]:
        """What runs beside Redis and the simulator, in this order; `simulator`: where a client connects to it."""
        yield "relay", ("bench.relay", str(self._ports["relay"]), simulator), {}
        yield "bridge", ("realtime_bridge",), shared
        yield "gateway", ("gateway",), {**shared, **self.at("gateway")}

    def at(self, name: str) -> dict[str, str]:
        """The variables that have a gateway listen there."""
        return {"HOST": "127.0.0.1", "PORT": str(self._ports[name])}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._held)
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parley-bench-")))
            stack.enter_context(self.server)
            self.pids["redis"] = self.server.process.pid
            port = str(self._ports["simulator"])
            shared = {
                "REDIS_URL": self.server.url,
                "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
                "OPENAI_API_KEY": "bench",
            }
            simulator: Service = (
                "simulator",
                ("simulator", "--answer", "echo=live", "--host", "127.0.0.1", "--port", port),
                {},
            )
            address = f"ws://127.0.0.1:{port}/v1/realtime?model=gpt-realtime"
            for name, command, variables in (simulator, *self.services(directory, address, shared)):
                self.pids[name] = started(stack, directory, name, command, variables)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()


class RecordingStage(Stage):
    """Two gateways, of which one has all of its sessions recorded, and the transcoder that does it."""

    doors: Mapping[Arm, str] = {"direct": "simulator", "not recorded": "gateway", "recorded": "recording gateway"}

    def services(self, directory: Path, simulator: str, shared: Mapping[str, str]) -> Iterator[Service]:
        recordings = {"PARLEY_RECORDINGS": str(directory / "recordings"), "PARLEY_DECODERS": "1"}
        yield "bridge", ("realtime_bridge",), shared
        yield "transcoder", ("transcoder",), {**shared, **recordings}
        yield "gateway", ("gateway",), {**shared, **self.at("gateway")}
        records = {"PARLEY_RECORD": "on"}
        yield "recording gateway", ("gateway",), {**shared, **recordings, **records, **self.at("recording gateway")}


class FloorStage(Stage):
    """With the barest gateway and bridge that go the same way."""

    doors: Mapping[Arm, str] = {**Stage.doors, "barest": "barest gateway"}

    def services(self, directory: Path, simulator: str, shared: Mapping[str, str]) -> Iterator[Service]:
        yield "barest bridge", ("bench.barest", "bridge", simulator), shared
        yield "barest gateway", ("bench.barest", "gateway", str(self._ports["barest gateway"])), shared
        yield from super().services(directory, simulator, shared)
