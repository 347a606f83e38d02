"""Broken and hostile files through the pool: audio or a typed error for each, and the child that read them lives on.

A child that died or showed no progress for ten seconds would be counted as replaced; no file takes more than some tenths of
one. `CORPUS=all` (`make corpus`) flips bits a thousand times.
Where strace is installed a child is watched from outside as well; `apt-get install strace` brings it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.media import hostile
from tests.media.fuzz import fuzz, mutated
from transcoder import confine
from transcoder.errors import DecoderFailed, MediaError
from transcoder.sandbox import DecoderPool
from transcoder.stream_pool import StreamPool

FLIPS = 1000 if os.environ.get("CORPUS") == "all" else 100
LIMIT_S = 240.0
HANG_S = 10.0
STRACE = shutil.which("strace")
if STRACE is None and "PARLEY_REQUIRE_STRACE" in os.environ:
    raise RuntimeError("strace is not installed: apt-get install strace")

QUIET = {
    "read", "write", "sendto", "recvfrom", "close", "mmap", "mprotect", "munmap", "brk", "mremap", "madvise", "futex",
    "clock_gettime", "gettimeofday", "times", "getrusage", "getrandom", "getrlimit", "setrlimit", "prlimit64",
    "sched_getaffinity", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "restart_syscall",
}  # fmt: skip
"""What a child may be seen doing: none of it names a file, an address or another process."""

REFUSED = {"clone3", "clone"}
"""What it may try in vain: libavfilter would like a thread for each resampler, and does without."""


def most_memory(pid: int) -> int:
    """Bytes of address space that a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmPeak")))


def descriptors(pid: int) -> list[str]:
    return sorted(os.listdir(f"/proc/{pid}/fd"))


def read(folder: Path) -> list[list[str]]:
    """What strace wrote of each child."""
    return [path.read_text().splitlines() for path in folder.glob("seen.*")]


def calls(lines: list[str]) -> tuple[set[str], set[str]]:
    """The system calls that were done, and those that were refused."""
    done: set[str] = set()
    refused: set[str] = set()
    for line in lines:
        if call := re.match(r"\d+ +(\w+)\(", line):
            (refused if line.endswith("= -1 EPERM (Operation not permitted)") else done).add(call[1])
    return done, refused


async def test_every_broken_file_is_heard_or_told_and_harms_nobody() -> None:
    async with asyncio.timeout(LIMIT_S), DecoderPool(2, hang_s=HANG_S) as pool:
        pids = pool.pids

        async def outcome(name: str, data: bytes) -> str:
            try:
                decoded = await pool.decode_file(data, max_seconds=120.0)
            except DecoderFailed as error:
                raise AssertionError(name) from error
            except MediaError as error:
                return error.code if 20 < len(str(error)) < 300 else name
            assert len(decoded.pcm) <= 120 * 48_000, name
            return "audio"

        found = [await outcome(name, data) for name, data in hostile.everything(FLIPS)]
        assert set(found) == {"audio", "broken_media", "not_audio", "too_long", "empty", "unsupported_media"}
        assert (pool.replaced, pool.pids) == (0, pids)
        assert max(most_memory(pid) for pid in pids) <= confine.ADDRESS_SPACE_BYTES
        assert all(descriptors(pid) == ["0", "1", "2", "3"] for pid in pids)


async def test_every_broken_stream_is_heard_or_told_and_harms_nobody() -> None:
    async with asyncio.timeout(LIMIT_S), StreamPool(hang_s=HANG_S) as pool:
        pids, told = pool.pids, 0
        for name, data in (*hostile.made_to_hurt(), *hostile.flipped(FLIPS, seed=6)):
            stream = pool.open("stream")
            try:
                for at in range(0, min(len(data), 2_000_000), 50_000):
                    await stream.feed(data[at : at + 50_000], max_seconds=120.0)
                await stream.close(max_seconds=120.0)
            except DecoderFailed as error:
                raise AssertionError(name) from error
            except MediaError:
                told += 1
        assert told > 30
        assert (pool.replaced, pool.pids) == (0, pids)


async def test_a_moment_of_fuzzing_kills_nobody() -> None:
    """`make fuzz` goes on for ten minutes; a try is made again from its seed and number."""
    async with asyncio.timeout(LIMIT_S):
        assert await fuzz(0.5, seed=3) == 0
    assert mutated(3, 7) == mutated(3, 7) != mutated(3, 8)


if STRACE is not None:

    async def test_a_child_is_seen_to_open_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """By the kernel's own account: after it has said that it is ready it only reads, answers and takes memory."""
        watched = tmp_path / "python"
        watched.write_text(f'#!/bin/sh\nexec {STRACE} -f -qq -s 0 -o {tmp_path}/seen.$$ {sys.executable} "$@"\n')
        watched.chmod(0o755)
        monkeypatch.setattr("sys.executable", str(watched))
        files = [*hostile.made_to_hurt(), *hostile.flipped(FLIPS, seed=7), *hostile.good().items()]
        heard = 0
        async with (
            asyncio.timeout(LIMIT_S),
            DecoderPool(1, hang_s=LIMIT_S) as pool,
            StreamPool(1, hang_s=LIMIT_S) as streams,
        ):
            for _, data in files:
                with contextlib.suppress(MediaError):
                    heard += len((await pool.decode_file(data, max_seconds=120.0)).pcm) > 0
                stream = streams.open("stream")
                with contextlib.suppress(MediaError):
                    await stream.feed(data[:2_000_000], max_seconds=120.0)
                await stream.drop()  # more than a child holds would be given another one
        assert heard >= len(hostile.good())
        traces = read(tmp_path)
        assert len(traces) == 2
        for lines in traces:
            ready = next(number for number, line in enumerate(lines) if " sendto(3, " in line)
            done, refused = calls(lines[ready:])
            assert any("openat(" in line for line in lines[:ready])  # it is not blind
            assert {"recvfrom", "sendto"} <= done <= QUIET
            assert refused <= REFUSED
            assert len({line.split()[0] for line in lines[ready:]}) == 1  # and it has no threads or children
