"""A decoder child, seen from the worker: started, asked, killed.

It is started by exec, never by fork alone: no memory of the worker, with what it knows, is in it. Its environment is made by
hand, and it is trusted as little as the bytes it decodes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from transcoder import wire
from transcoder.errors import DecoderFailed, rebuild

logger = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parent.parent
_PASSED_ON = ("LD_LIBRARY_PATH",)
"""All that a child's environment has of ours: where a Python that lives at an unusual place finds its libraries."""

_LAST_WORDS_S = 0.5
_LAST_WORDS_BYTES = 2000

_LATE_S = 0.1
"""When a time is up so much later than it should be, this process was stopped, or was long at something else. So long is
looked for what has come when it is up in time, as a stop may have ended right then."""

T = TypeVar("T")


class ChildDied(Exception):
    """It ended, hung, or said what no child of ours says."""


class Child:
    """One process and our end of its socket pair."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._header = b""
        """of a message whose body has not come yet"""
        self._end = asyncio.create_task(process.wait(), name=f"end of decoder child {process.pid}")
        self._killing: asyncio.Task[str] | None = None
        self._born = asyncio.get_running_loop().time()
        self.asked = 0
        """how many questions it was asked"""
        self.walls = wire.Ready("", "")
        """what the kernel keeps it from; told when it is ready"""

    @property
    def ended(self) -> bool:
        return self._end.done()

    def when_ended(self, call: Callable[[], None]) -> None:
        self._end.add_done_callback(lambda _: call())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def age_s(self) -> float:
        return asyncio.get_running_loop().time() - self._born

    def spare(self) -> None:
        """It begins a further life: nobody could take its place."""
        self._born, self.asked = asyncio.get_running_loop().time(), 0

    @classmethod
    async def start(cls, timeout_s: float) -> Child:
        """A child that is ready for work. Raises DecoderFailed."""
        spawning = asyncio.create_task(cls._spawn(), name="spawning a decoder child")
        try:
            child = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            await _undo(spawning)
            raise
        try:
            async with asyncio.timeout(timeout_s):
                message = await child._receive()
            if not isinstance(message, wire.Ready):
                raise ChildDied(f"it began with {type(message).__name__}")
            child.walls = message
            _tell(message)
        except (ChildDied, TimeoutError) as error:
            trace = await child.kill()
            raise DecoderFailed(f"a decoder did not start: {error!r} {trace}") from error
        except asyncio.CancelledError:
            await child.kill()
            raise
        return child

    @classmethod
    async def _spawn(cls) -> Child:
        """Not to be cancelled: asyncio leaves the watcher and the pipe of a spawn behind that is cut midway."""
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                reader, writer = await asyncio.open_unix_connection(sock=ours)
                try:
                    process = await asyncio.create_subprocess_exec(
                        *(sys.executable, "-P", "-m", "transcoder.child", str(theirs.fileno())),
                        stdin=asyncio.subprocess.DEVNULL,
                        stdout=asyncio.subprocess.DEVNULL,
                        stderr=asyncio.subprocess.PIPE,
                        pass_fds=(theirs.fileno(),),
                        env=_environment(),
                        cwd="/",
                        start_new_session=True,  # Ctrl-C is for the worker, which ends its children itself
                    )
                except BaseException:
                    writer.close()
                    raise
        except OSError as error:
            raise DecoderFailed(f"no decoder can be started: {error}") from error
        return cls(process, reader, writer)

    async def ask(self, request: wire.Request, hang_s: float) -> wire.Message:
        """Its answer. Raises MediaError for what it found, ChildDied for what became of it: no progress for `hang_s`, too.

        One asks at a time.
        """
        self.asked += 1
        try:
            self._writer.write(wire.pack(request))
            await _within(hang_s, self._writer.drain)
            while True:
                message = await _within(hang_s, self._receive)
                match message:
                    case wire.Progress(stream=request.stream):
                        continue
                    case wire.Refused(stream=request.stream):
                        raise rebuild(message.code, message.message, message.facts)
                    case wire.FileDecoded(stream=request.stream) | wire.StreamHeard(stream=request.stream):
                        return message
                    case _:
                        raise ChildDied(f"it answered with {type(message).__name__}")
        except TimeoutError as error:
            raise ChildDied(f"no progress for {hang_s} s") from error
        except ConnectionError as error:
            raise ChildDied("it closed its socket") from error
        except ValueError as error:  # no message, or no error, of ours
            raise ChildDied(f"it does not speak our language: {error}") from error

    async def tell(self, request: wire.Request) -> None:
        """What is not answered. A child that cannot be told is found out by the next question."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(wire.pack(request))
            await self._writer.drain()

    async def kill(self) -> str:
        """End it and all it may have started, at once, and wait for that; the last of what it said on stderr.

        A caller that is cancelled waits for it too: none is left unreaped. It is done once, however many call.
        """
        if self._killing is None:
            self._killing = asyncio.create_task(self._kill(), name=f"killing decoder child {self.pid}")
        try:
            return await asyncio.shield(self._killing)
        except asyncio.CancelledError:
            await _to_its_end(self._killing)
            raise

    async def _kill(self) -> str:
        self._writer.close()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        await self._end
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        said = b""
        if self._process.stderr is not None:
            with contextlib.suppress(TimeoutError):  # whoever else may hold that pipe is not waited for
                async with asyncio.timeout(_LAST_WORDS_S):
                    said = await self._process.stderr.read()
        return said[-_LAST_WORDS_BYTES:].decode(errors="replace")

    async def _receive(self) -> wire.Message:
        """Its next message. Whoever is cancelled meanwhile may ask for it again."""
        try:
            if not self._header:
                self._header = await self._reader.readexactly(wire.HEADER_BYTES)
            body = await self._reader.readexactly(wire.body_bytes(self._header))
            self._header = b""
            return wire.unpack(body)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise ChildDied("it closed its socket") from error
        except wire.WireError as error:
            raise ChildDied(f"it does not speak our language: {error}") from error


async def _within(seconds: float, step: Callable[[], Awaitable[T]]) -> T:
    """What this gives, in time: else TimeoutError. Where we have stood still ourselves what has come meanwhile is not read
    yet, and its time begins anew."""
    clock = asyncio.get_running_loop().time
    due = clock() + seconds
    try:
        async with asyncio.timeout_at(due):
            return await step()
    except TimeoutError:
        is_late = clock() - due >= _LATE_S
    async with asyncio.timeout(seconds if is_late else _LATE_S):
        return await step()


async def _undo(spawning: asyncio.Task[Child]) -> None:
    await _to_its_end(spawning)
    with contextlib.suppress(DecoderFailed):
        await spawning.result().kill()


async def _to_its_end(task: asyncio.Task[Any]) -> None:
    """However often the caller is cancelled meanwhile. The caller raises CancelledError afterwards."""
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task})


@cache
def _tell(walls: wire.Ready) -> None:
    """To the log, once a process."""
    if walls.missing:
        logger.warning("decoder children are without some walls: %s; they stand behind %s", walls.missing, walls.standing)
    else:
        logger.info("decoder children stand behind %s", walls.standing)


def _environment() -> dict[str, str]:
    """Made by hand, so that no key, token or address of ours is in it."""
    return {
        "PYTHONPATH": str(_ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PARLEY_PARENT_PID": str(os.getpid()),
    } | {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
