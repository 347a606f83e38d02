"""What a decoder child may not do.

It has no secrets (its environment is made by hand, see `transcoder.sandbox`), no descriptor but its socket, /dev/null
and stderr, and cannot get another: so it opens no file and no socket. Its memory and its CPU time a job are
limited. Kernel filters (Landlock, seccomp) belong at the end of `confine`, after everything has been loaded.
"""

from __future__ import annotations

import os
import resource

SOCKET_FD = 3
"""Where the child's socket lies: right after stdin, stdout and stderr, so that nothing above it may be open."""

ADDRESS_SPACE_BYTES = 384 * 1024 * 1024
"""Measured on x86-64: 142 MB after start (libraries, three quarters of it never touched), 168 MB with two minutes of
96 kHz stereo, 190 MB with the largest file. What asks for more gets no memory, which libavcodec reports and survives."""

CPU_S_PER_JOB = 10
"""Measured: two minutes of 96 kHz stereo AAC take 0.3 s. A slow or busy machine may take many times that."""


def own_descriptors(fd: int) -> None:
    """Move `fd` to `SOCKET_FD` and close every other descriptor above stderr."""
    if fd != SOCKET_FD:
        os.dup2(fd, SOCKET_FD)
    os.closerange(SOCKET_FD + 1, 65_536)


def confine() -> None:
    """Give up, for good, what decoding does not need. Call it when all libraries are loaded."""
    hard = {
        resource.RLIMIT_NOFILE: SOCKET_FD + 1,
        resource.RLIMIT_AS: ADDRESS_SPACE_BYTES,
        resource.RLIMIT_NPROC: 0,  # no threads either; root is not bound by it
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in hard.items():
        resource.setrlimit(limit, (value, value))


def start_job() -> None:
    """Allow the job that begins now `CPU_S_PER_JOB` of CPU time; past it the kernel kills the child (SIGXCPU)."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used_s = int(usage.ru_utime + usage.ru_stime) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (used_s + CPU_S_PER_JOB, hard))
