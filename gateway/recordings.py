"""Recordings on disk, written as their chunks come.

While a recording grows its file ends in `.part`; when it is saved the file gets its real name. So a file without that end is
whole, and one with it belongs to a recording that still runs, or to a process that was killed in the middle of it: it holds
every chunk that was acknowledged, and plays as far as it goes.

The disk is somebody else's (a full one, a network's), and may take its time: it is touched in threads of its own only, a few
for the whole process, so that a disk that hangs holds up recordings and nothing else.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from gateway.errors import DiskFull, NotSaved, NotWritable, RecordingTooLarge

T = TypeVar("T")

THREADS = 4
"""That touch the disk for all recordings of this process."""

SHOWN_FOLDER = "uploads"
"""What clients are told of the folder, wherever it is: where this machine keeps its files is not their business."""

_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True)
class Saved:
    """A recording that is whole."""

    file: str
    """as the client is told it"""
    size: int
    """bytes"""
    chunks: int


def new_id() -> str:
    """Eight hex digits that nobody can guess."""
    return secrets.token_hex(4)


class Recording:
    """One file, made with its first chunk. Its methods block; one thread at a time may be in them."""

    def __init__(self, folder: Path, id_: str, begun: datetime) -> None:
        self._folder, self._id, self._begun = folder, id_, begun
        self._fd: int | None = None
        self._part = self._named()
        self.size = 0
        """bytes that are written"""
        self.chunks = 0

    @property
    def file(self) -> str:
        """As the client is told it."""
        return f"{SHOWN_FOLDER}/{self._part.name}"

    def write(self, chunk: bytes) -> None:
        """Hand the chunk to the operating system: from here on it outlives this process. All of it, or (OSError) nothing."""
        if self._fd is None:
            self._fd = self._open()
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            with suppress(OSError):  # what is left of it then is behind all that was acknowledged
                os.ftruncate(self._fd, self.size)
                os.lseek(self._fd, self.size, os.SEEK_SET)
            raise
        self.size += len(chunk)
        self.chunks += 1

    def save(self) -> Saved | None:
        """Give the file its name; None, and no file, when nothing is in it. Raises OSError; the `.part` stays then.

        No file is overwritten. Nothing can be done with the recording afterwards.
        """
        if self._fd is None:
            return None
        try:
            if not self.chunks:
                self._part.unlink()
                return None
            os.fsync(self._fd)  # some file systems say only now that they are full
        finally:
            os.close(self._fd)
        whole = self._part.with_suffix("")
        if whole.exists():  # somebody has put it there by hand
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(whole))
        self._part.rename(whole)
        return Saved(f"{SHOWN_FOLDER}/{whole.name}", self.size, self.chunks)

    def _open(self) -> int:
        """The file, new. The folder is made if it is not there.

        Whoever has made the `.part` has the name: nobody else can make it, and nobody else gives a recording this name. A
        name that is taken is passed over, for one with another id.
        """
        self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        while True:
            with suppress(FileExistsError):
                fd = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
                if not self._part.with_suffix("").exists():
                    return fd
                os.close(fd)
                self._part.unlink()
            self._id = new_id()
            self._part = self._named()

    def _named(self) -> Path:
        return self._folder / f"websocket_recording_{self._begun:%Y%m%d_%H%M%S}_{self._id}.webm.part"


class Recordings:
    """The folder of this process's recordings, and the threads that touch it."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="gateway.recordings")

    def begin(self, id_: str, now: datetime) -> Recording:
        """One with nothing in it; the disk is not touched yet."""
        return Recording(self._folder, id_, now)

    async def write(self, recording: Recording, chunk: bytes) -> None:
        """All of it or nothing, also when this is cancelled. Raises RecordingTooLarge, DiskFull, NotWritable."""
        if recording.size + len(chunk) > self._max_bytes:
            raise RecordingTooLarge(self._max_bytes)
        try:
            await self._do(lambda: recording.write(chunk))
        except OSError as error:
            raise DiskFull if error.errno in _FULL else NotWritable(_reason(error)) from error

    async def save(self, recording: Recording) -> Saved | None:
        """None when nothing is in it. Raises NotSaved."""
        try:
            return await self._do(recording.save)
        except OSError as error:
            raise NotSaved(recording.file, _reason(error)) from error

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False)

    async def _do(self, work: Callable[[], T]) -> T:
        """In a thread. Cancelled, it waits for the thread all the same: two in one recording would mix its chunks up."""
        done = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            await asyncio.wait([done])
            done.exception()  # whoever has cancelled does not ask
            raise


def _reason(error: OSError) -> str:
    """Without the path, which is not the client's business."""
    return os.strerror(error.errno) if error.errno else type(error).__name__
