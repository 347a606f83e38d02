"""What a decoder child may not do: wall behind wall, each where the kernel offers it.

It has no secrets (its environment is made by hand, see `transcoder.child_process`), no descriptor but its socket, /dev/null
and stderr, and cannot get another: so it opens no file and no socket. Its memory and its CPU time a job are
limited. These walls stand on every Unix. On Linux four more are tried, and what could be put up is told to the worker:

    capabilities    none, also for root
    network         a network namespace of its own, in which there is not even a loopback that is up
    landlock        no file, no TCP port, and no signal to anybody (`transcoder.kernel`)
    seccomp         only the system calls that decoding needs (`transcoder.kernel`)

Any one of the walls is enough to keep a child from files and network. A container engine may forbid the second.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass

from runtime.child import die_with_parent
from transcoder import kernel

SOCKET_FD = 3
"""Where the child's socket lies: right after stdin, stdout and stderr, so that nothing above it may be open."""

ADDRESS_SPACE_BYTES = 384 * 1024 * 1024
"""Measured on x86-64: 142 MB after start (libraries, three quarters of it never touched), 168 MB with two minutes of
96 kHz stereo, 190 MB with the largest file. What asks for more gets no memory, which libavcodec reports and survives."""

CPU_S_PER_JOB = 10
"""Measured: two minutes of 96 kHz stereo AAC take 0.3 s. A slow or busy machine may take many times that."""


@dataclass(frozen=True, slots=True)
class Walls:
    """The kernel's walls around a child, in words: which stand, and which could not be put up, each with the reason."""

    standing: tuple[str, ...]
    missing: tuple[str, ...]


def own_descriptors(fd: int) -> None:
    """Move `fd` to `SOCKET_FD` and close every other descriptor above stderr."""
    if fd != SOCKET_FD:
        os.dup2(fd, SOCKET_FD)
    os.closerange(SOCKET_FD + 1, 65_536)


def confine() -> Walls:
    """Give up, for good, what decoding does not need, and die with the parent. Call it when all libraries are loaded."""
    standing: list[str] = []
    missing: list[str] = []

    def build(name: str, wall: Callable[[], None]) -> None:
        try:
            wall()
        except OSError as error:
            missing.append(f"{name} ({error.strerror})")
        else:
            standing.append(name)

    build("network", kernel.leave_network)
    build("capabilities", kernel.drop_capabilities)
    die_with_parent(signal.SIGKILL)  # again: the kernel forgets it when one becomes somebody else
    build("landlock", kernel.restrict_files)  # it needs a descriptor for a moment
    _limit()
    build("seccomp", kernel.filter_system_calls)
    return Walls(tuple(standing), tuple(missing))


def start_job() -> None:
    """Allow the job that begins now `CPU_S_PER_JOB` of CPU time; past it the kernel kills the child (SIGXCPU)."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used_s = int(usage.ru_utime + usage.ru_stime) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (used_s + CPU_S_PER_JOB, hard))


def _limit() -> None:
    hard = {
        resource.RLIMIT_NOFILE: SOCKET_FD + 1,
        resource.RLIMIT_AS: ADDRESS_SPACE_BYTES,
        resource.RLIMIT_NPROC: 0,  # no threads either
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in hard.items():
        resource.setrlimit(limit, (value, value))
