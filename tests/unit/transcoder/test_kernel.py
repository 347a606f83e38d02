"""The list of system calls as the kernel's own small machine runs it, for both kinds of processor."""

from __future__ import annotations

import errno
import struct

import pytest

from transcoder import kernel

KILLED, ALLOWED, REFUSED = 0x80000000, 0x7FFF0000, 0x00050000 | errno.EPERM
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
FORBIDDEN = {"x86_64": {257, 41, 42, 56, 57, 62}, "aarch64": {56, 198, 203, 220, 129}}
"""openat, socket, connect, clone, fork, kill"""


def verdict(machine: str, number: int, arguments: tuple[int, ...] = (), *, arch: int | None = None) -> int:
    """Of `struct seccomp_data`: number, machine, address, six arguments."""
    data = struct.pack("<IIQ6Q", number, MACHINES[machine] if arch is None else arch, 0, *(*arguments, *[0] * 6)[:6])
    program = list(struct.iter_unpack("=HBBI", kernel._program(machine)))
    at, value = 0, 0
    while True:
        code, if_so, if_not, operand = program[at]
        at += 1
        match code:
            case 0x20:
                (value,) = struct.unpack_from("<I", data, operand)
            case 0x15:
                at += if_so if value == operand else if_not
            case 0x45:
                at += if_so if value & operand else if_not
            case 0x06:
                return int(operand)
            case _:
                raise AssertionError(code)


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
def test_what_is_listed_is_allowed_and_nothing_else(machine: str, column: int) -> None:
    allowed = {numbers[column] for numbers in kernel._ALLOWED.values()}
    deadly = {numbers[column] for numbers in kernel._DEADLY.values()}
    conditional = {numbers[column] for numbers in (kernel._NOT_EXECUTABLE | kernel._OF_ONESELF).values()}
    assert len(allowed) == len(kernel._ALLOWED)
    for number in range(600):
        found = verdict(machine, number, (1, 0, 4))
        if number in allowed:
            assert found == ALLOWED
        else:
            assert found == (KILLED if number in deadly else REFUSED), number
    assert all(verdict(machine, number) == ALLOWED for number in conditional)
    assert not allowed & FORBIDDEN[machine]


@pytest.mark.parametrize("machine", MACHINES)
def test_memory_does_not_become_executable(machine: str) -> None:
    for mapping in kernel._NOT_EXECUTABLE.values():
        number = mapping[list(MACHINES).index(machine)]
        assert verdict(machine, number, (0, 4096, 3)) == ALLOWED
        assert verdict(machine, number, (0, 4096, 7)) == REFUSED


@pytest.mark.parametrize("machine", MACHINES)
def test_the_calls_of_another_machine_are_the_end(machine: str) -> None:
    """So are those of x86-64's own other table (x32), which has one bit more: they are not on the list."""
    assert verdict(machine, 0, arch=0x40000003) == KILLED
    assert verdict("x86_64", 0x40000000) == REFUSED


def test_a_machine_without_a_list_is_told() -> None:
    with pytest.raises(OSError, match="vax"):
        kernel._program("vax")
