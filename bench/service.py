"""One process that is measured: started, ready, and ended afterwards."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from runtime.errors import StartError

_READY_LIMIT_S = 30.0
_STOP_LIMIT_S = 10.0
_OURS = ("PARLEY_", "OPENAI_", "REDIS_URL", "JWT_SECRET", "HOST", "PORT", "LOG_", "NOTIFY_SOCKET")
"""Variables that would make one run another than the next."""


def started(stack: ExitStack, directory: Path, name: str, command: Sequence[str], variables: Mapping[str, str]) -> int:
    """Its process id, when it says that it is ready; the stack ends it. Raises StartError."""
    address, log = directory / f"{name}.ready", directory / f"{name}.log"
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
        stack.callback(_stop, process)
        for _ in range(round(_READY_LIMIT_S / 0.1)):
            try:
                ready.recv(1024)
            except TimeoutError:
                if process.poll() is None:
                    continue
                break
            return process.pid
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
