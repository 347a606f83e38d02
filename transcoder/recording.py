"""A session's uplink as a WAV file: PCM16 mono at the rate that the client sent, or 24 kHz of what came coded.

Each sample is written at its own place in the file, so that work that is done twice changes nothing, and another worker on
the same disk goes on where one died. What comes is gathered for a second and written by a thread; nothing that a disk does
holds up the call.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from transcoder.decoded import BYTES_PER_SAMPLE

HEADER_BYTES = 44

FLUSH_EVERY_S = 1.0
"""What a worker that is killed has not written: so much, which the next one does again."""

MAX_QUEUED_BYTES = 4 << 20
"""Of one session, not written yet: more than a minute. A disk that is so far behind gets no more of this recording."""

CLOSE_WITHIN_S = 2.0
"""How long the end of a session waits for its recording."""

WRITERS = 4
"""Threads that write, a process: a disk that hangs holds up the other recordings, and nothing else."""


@dataclass(frozen=True, slots=True)
class Recordings:
    """Where this process keeps them."""

    directory: Path
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(WRITERS, thread_name_prefix="recording"))

    def close(self) -> None:
        """Write what was handed to the threads."""
        self.threads.shutdown(wait=False)


class Recording:
    """One session's. Made in the loop; `add` what comes, then `close`."""

    def __init__(
        self, recordings: Recordings, stem: str, log: logging.LoggerAdapter[logging.Logger], *, on_disk: int = 0
    ) -> None:
        self.path = recordings.directory / f"{stem}.wav"
        self.on_disk = on_disk
        """samples up to which all is in the file, or will never be"""
        self._threads, self._log = recordings.threads, log
        self._rate = 0
        self._blocks: list[tuple[int, bytes]] = []
        self._queued_bytes = 0
        self._end = 0
        self._refused: set[int] = set()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, offset: int, audio: bytes, rate: int) -> None:
        """PCM16 whose first sample is the `offset`-th of the recording, at `rate` hertz. Never waits, and never fails."""
        if self.on_disk == sys.maxsize:
            return
        if self._queued_bytes > MAX_QUEUED_BYTES:
            self._give_up("the disk is too slow for it")
            return
        self._rate = rate
        self._blocks.append((offset, audio))
        self._queued_bytes += len(audio)
        self._end = offset + len(audio) // BYTES_PER_SAMPLE
        if self._task is None:
            self._task = asyncio.create_task(self._write(), name=f"recording {self.path.name}")

    def refuse(self, rate: int) -> None:
        """What came at another rate than the recording has. Said once."""
        if rate not in self._refused:
            self._refused.add(rate)
            self._log.error("%s has one rate; what came at %d Hz is not in it", self.path, rate)

    async def close(self) -> None:
        """Write what is left, within CLOSE_WITHIN_S."""
        self._closing.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=CLOSE_WITHIN_S)

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._blocks:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_EVERY_S):
                    await self._closing.wait()
            blocks, self._blocks, end = self._blocks, [], self._end
            try:
                await loop.run_in_executor(self._threads, _write, self.path, self._rate, blocks)
            except (OSError, RuntimeError) as error:  # RuntimeError: the process ends, its threads take no more
                self._give_up(str(error))
                break
            self._queued_bytes -= sum(len(audio) for _, audio in blocks)
            if self.on_disk != sys.maxsize:
                self.on_disk = end
        self._task = None

    def _give_up(self, why: str) -> None:
        self._log.error("the recording %s cannot be kept, and the call goes on without: %s", self.path, why)
        self.on_disk = sys.maxsize
        self._blocks = []


def _write(path: Path, rate: int, blocks: list[tuple[int, bytes]]) -> None:
    """Put each block at its place, then make the header right. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for offset, audio in _joined(blocks):
            _write_at(file, audio, HEADER_BYTES + offset * BYTES_PER_SAMPLE)
        _write_at(file, header(rate, os.fstat(file).st_size - HEADER_BYTES), 0)
    finally:
        os.close(file)


def _joined(blocks: list[tuple[int, bytes]]) -> list[tuple[int, bytearray]]:
    """Blocks that follow each other as one: a call to the system each second, not each packet."""
    joined: list[tuple[int, bytearray]] = []
    for offset, audio in blocks:
        if joined and joined[-1][0] + len(joined[-1][1]) // BYTES_PER_SAMPLE == offset:
            joined[-1][1].extend(audio)
        else:
            joined.append((offset, bytearray(audio)))
    return joined


def _write_at(file: int, data: bytes | bytearray, position: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, position)
        view, position = view[written:], position + written


def header(rate: int, data_bytes: int) -> bytes:
    """The 44 bytes before `data_bytes` of PCM16 mono at `rate` hertz."""
    data_bytes = min(data_bytes, 0xFFFFFFFF - 36)
    return b"RIFF" + struct.pack(
        "<I8sIHHIIHH4sI",
        36 + data_bytes, b"WAVEfmt ", 16, 1, 1, rate, rate * BYTES_PER_SAMPLE, BYTES_PER_SAMPLE, 16, b"data", data_bytes,
    )  # fmt: skip
