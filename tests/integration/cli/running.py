"""`parley` as a process of its own, and what is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
CLEARED = (
    "REDIS_URL",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "HOST",
    "JWT_SECRET",
    "PARLEY_AUTH",
    "NOTIFY_SOCKET",
    "PARLEY_PARENT_PID",
)


class Parley:
    """A running command. `lines` is what it has written so far, standard output and standard error together."""

    def __init__(self, process: asyncio.subprocess.Process, temporary: Path) -> None:
        self.process = process
        self.temporary = temporary
        """Its TMPDIR."""
        self.lines: list[str] = []
        self._changed = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    @property
    def output(self) -> str:
        """All of it."""
        return "\n".join(self.lines)

    async def says(self, pattern: str, times: int = 1) -> re.Match[str]:
        """Wait for a line that matches; the last of so many."""
        async with self._changed:
            while True:
                found = [match for line in self.lines if (match := re.search(pattern, line))]
                if len(found) >= times:
                    return found[times - 1]
                if self._reader.done():
                    raise AssertionError(f"ended without saying {pattern!r}:\n{self.output}")
                await self._changed.wait()

    async def listens(self) -> str:
        """Wait until it is up; the URL of its gateway."""
        return (await self.says(r"Listening on (\S+)"))[1]

    async def ends(self) -> int:
        """Wait for its end; the exit code."""
        code = await self.process.wait()
        await asyncio.wait({self._reader}, timeout=5)
        return code

    def signal(self, sig: signal.Signals) -> None:
        """To this process alone, as the terminal's would reach it."""
        self.process.send_signal(sig)

    def descendants(self) -> dict[int, str]:
        """Process ids and command lines of everything alive that it has started, whoever is the parent by now."""
        return processes(f"PARLEY_PARENT_PID={self.process.pid}", self.temporary)

    def leaves_nothing(self) -> bool:
        """No process and no file; a process that was killed may take a moment to be gone."""
        limit = time.monotonic() + 10
        while self.descendants() or list(self.temporary.iterdir()):
            if time.monotonic() > limit:
                return False
            time.sleep(0.02)
        return True

    async def _read(self) -> None:
        assert self.process.stdout is not None
        try:
            async for line in self.process.stdout:
                async with self._changed:
                    self.lines.append(line.decode().rstrip())
                    self._changed.notify_all()
        finally:
            async with self._changed:
                self._changed.notify_all()


@contextlib.asynccontextmanager
async def parley(arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> AsyncIterator[Parley]:
    """Run `parley <arguments>` in a directory; whatever of it still runs in the end is killed."""
    inherited = {key: value for key, value in os.environ.items() if key not in CLEARED}
    with tempfile.TemporaryDirectory(prefix="pt-") as temporary:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "cli", *arguments),
            cwd=cwd,
            env={**inherited, "PORT": "0", "TMPDIR": temporary, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        running = Parley(process, Path(temporary))
        try:
            yield running
        finally:
            if process.returncode is None:
                process.kill()
            for pid in running.descendants():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await running.ends()


def processes(variable: str, directory: Path) -> dict[int, str]:
    """The living processes with `NAME=value` in their environment, or (Redis hides its own) at work in the directory."""
    found: dict[int, str] = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            theirs = variable.encode() in (process / "environ").read_bytes().split(b"\0")
            if theirs or str((process / "cwd").readlink()).startswith(str(directory)):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[int(process.name)] = command.strip()
    return found


async def eventually(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - about other processes: no event to wait for
            await asyncio.sleep(0.01)
