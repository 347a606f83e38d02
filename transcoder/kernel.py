"""Linux's own walls around a process, for good, each by one function. Each raises OSError where it is not to be had.

They are system calls that neither Python's library nor a kept package gives (docs/decisions/0014): a dozen lines of ctypes
for each. A kernel, a container engine or a machine may lack or forbid any of them, so the caller takes what there is.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_CAPABILITY_VERSION_3 = 0x20080522

_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446  # on every machine alike
_LANDLOCK_VERSION = 1
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Version of Landlock → how many rights to files it knows; later ones know as many as the fifth."""

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_ALLOWED: dict[str, tuple[int, int]] = {
    # the socket, and the last words on stderr
    "read": (0, 63), "write": (1, 64), "sendto": (44, 206), "recvfrom": (45, 207), "close": (3, 57),
    # memory (mmap and mprotect are below: nothing may become executable)
    "munmap": (11, 215), "brk": (12, 214), "mremap": (25, 216), "madvise": (28, 233),
    # time, luck, and who am I
    "clock_gettime": (228, 113), "gettimeofday": (96, 169), "times": (100, 153), "getrusage": (98, 165),
    "getrandom": (318, 278), "getpid": (39, 172), "gettid": (186, 178), "sched_getaffinity": (204, 123),
    # the limit for each job (prlimit64 is below: of oneself)
    "getrlimit": (97, 163), "setrlimit": (160, 164),
    # locks, signals that Python resets when it ends, and the end
    "futex": (202, 98), "sched_yield": (24, 124), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139), "restart_syscall": (219, 128), "sigaltstack": (131, 132), "exit": (60, 93),
    "exit_group": (231, 94),
}  # fmt: skip
"""System call → its numbers on x86-64 and aarch64: all that a decoder does once it is loaded."""

_NOT_EXECUTABLE = {"mmap": (9, 222), "mprotect": (10, 226)}
_OF_ONESELF = {"prlimit64": (302, 261)}
_DEADLY = {"execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117), "process_vm_writev": (311, 271)}
"""Nobody tries these by mistake: the process ends at once. Everything else that is not allowed answers EPERM."""

_PROT_EXEC = 4
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_KILL, _ALLOW, _REFUSE = 0x80000000, 0x7FFF0000, 0x00050000 | errno.EPERM


def leave_network() -> None:
    """A network namespace in which there is nothing; with a user namespace around it, which needs no rights."""
    try:
        _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNET)
    except OSError:
        _call("unshare", _CLONE_NEWNET)


def drop_capabilities() -> None:
    """Root, if we are that, can no more than anybody."""
    _call("capset", struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24))


def restrict_files() -> None:
    """Landlock: everything that it knows of is forbidden, and nothing is excepted. What is open stays open."""
    version = _call("syscall", _LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION)
    files = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    tcp = 0b11 if version >= 4 else 0
    scopes = 0b11 if version >= 6 else 0  # abstract sockets, signals
    attributes = struct.pack("=QQQ", files, tcp, scopes)[: 8 * (1 + (version >= 4) + (version >= 6))]
    ruleset = _call("syscall", _LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _call("syscall", _LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def filter_system_calls() -> None:
    """seccomp: `_ALLOWED`, and no other. Put it up last."""
    program = _program(platform.machine())
    instructions = ctypes.create_string_buffer(program, len(program))
    length_and_place = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _call("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, length_and_place, 0, 0)


def _program(machine: str) -> bytes:
    """For the kernel's own small machine (BPF): each call's number is compared with the list, from top to bottom."""
    if machine not in _AUDIT_ARCH:
        raise OSError(errno.ENOSYS, f"no list of system calls for {machine}")
    column = list(_AUDIT_ARCH).index(machine)
    lines = [
        _line(_LOAD, _ARCH_AT),
        _line(_EQUAL, _AUDIT_ARCH[machine], 1, 0),
        _line(_RETURN, _KILL),  # the numbers of another machine mean other calls
        _line(_LOAD, _NUMBER_AT),
    ]
    for number in (numbers[column] for numbers in _ALLOWED.values()):
        lines += [_line(_EQUAL, number, 0, 1), _line(_RETURN, _ALLOW)]
    for number in (numbers[column] for numbers in _DEADLY.values()):
        lines += [_line(_EQUAL, number, 0, 1), _line(_RETURN, _KILL)]
    for number in (numbers[column] for numbers in _NOT_EXECUTABLE.values()):
        lines += [_line(_EQUAL, number, 0, 4), _argument(2), _line(_ANY_BIT, _PROT_EXEC, 1, 0)]
        lines += [_line(_RETURN, _ALLOW), _line(_RETURN, _REFUSE)]
    for number in (numbers[column] for numbers in _OF_ONESELF.values()):
        lines += [_line(_EQUAL, number, 0, 4), _argument(0), _line(_EQUAL, 0, 0, 1)]
        lines += [_line(_RETURN, _ALLOW), _line(_RETURN, _REFUSE)]
    return b"".join([*lines, _line(_RETURN, _REFUSE)])


def _line(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    """One instruction; `if_so` and `if_not` are how many of those that follow are passed over."""
    return struct.pack("=HBBI", code, if_so, if_not, value)


def _argument(number: int) -> bytes:
    """Load the lower half of an argument: both machines are little-endian."""
    return _line(_LOAD, _ARGUMENTS_AT + 8 * number)


def _call(name: str, *arguments: int | bytes | None) -> int:
    """A function of the C library that answers -1 where it cannot; its whole numbers are as wide as a register."""
    if _LIBC is None:
        raise OSError(errno.ENOSYS, "this is not Linux")
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = int(_LIBC[name](*wide))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
