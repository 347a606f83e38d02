"""A network that drops packets, by the kernel's own filter: for one loopback address, whoever else is on the machine.

Nobody is told: what was sent is sent again by TCP, at intervals that double, and comes when the network is back.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path
from random import SystemRandom

from cli.errors import LoadError

HOW = "run it as root on a Linux with iptables (apt-get install iptables), or in a container with --cap-add NET_ADMIN"
_ENDS, _QUEUES = (1, 2), 4
"""Columns of /proc/net/tcp; see proc_net_tcp.txt of the kernel."""
_WAIT_S = "5"
"""For another one that changes the filter."""


@cache
def can_be_dropped() -> bool:
    """Whether there is the program, and the right to use it, which a container's root may lack."""
    if os.geteuid() != 0 or shutil.which("iptables") is None:
        return False
    return subprocess.run(["iptables", "--wait", _WAIT_S, "--list-rules", "INPUT"], capture_output=True).returncode == 0


def an_address() -> str:
    """One of our own machine that nobody else is likely to have drawn."""
    return f"127.{SystemRandom().randint(64, 254)}.{SystemRandom().randint(0, 255)}.{SystemRandom().randint(1, 254)}"


def is_under_way(address: str) -> bool:
    """Whether something that was sent to or from this address has yet to be acknowledged; an end, too."""
    ours = f"{int.from_bytes(IPv4Address(address).packed, 'little'):08X}:"
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    waiting = [row for row in rows if int(row[_QUEUES].partition(":")[0], 16)]
    return any(row[place].startswith(ours) for row in waiting for place in _ENDS)


@asynccontextmanager
async def dropped(address: str) -> AsyncIterator[None]:
    """All packets to and from this address. Raises LoadError where that cannot be."""
    rules = [("INPUT", way, address, "-j", "DROP") for way in ("--source", "--destination")]
    made = []
    try:
        for rule in rules:
            await _iptables("--insert", *rule)
            made.append(rule)
        yield
    finally:
        for rule in made:
            await _iptables("--delete", *rule)


async def _iptables(*arguments: str) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            "iptables", "--wait", _WAIT_S, *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        raise LoadError(f"Packets cannot be dropped here ({error}): {HOW}.") from None
    _, said = await process.communicate()
    if process.returncode:
        raise LoadError(f"Packets cannot be dropped here ({said.decode(errors='replace').strip()}): {HOW}.")
