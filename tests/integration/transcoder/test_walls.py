"""What the kernel keeps a decoder child from, tried by one that has been taken over: each wall alone, and all of them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from transcoder import wire
from transcoder.child_process import Child, ChildDied

LIMIT_S = 60.0

PROBE = """
import ctypes, errno, os, resource, signal, socket, sys
from transcoder import confine, kernel

def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", 9))

def tcp():
    with socket.socket() as caller:
        caller.settimeout(5)
        caller.connect(("127.0.0.1", int(sys.argv[2])))

def executable_memory():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    if libc.mmap(None, 4096, 7, 0x22, -1, 0) == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")

TRIED = {
    "read": lambda: os.close(os.open("/etc/passwd", os.O_RDONLY)),
    "write": lambda: os.close(os.open(sys.argv[3] + "/made", os.O_CREAT | os.O_WRONLY)),
    "list": lambda: os.listdir("/"),
    "socket": lambda: socket.socket().close(),
    "udp": udp,
    "tcp": tcp,
    "fork": lambda: os.fork() or os._exit(0),
    "signal": lambda: os.kill(os.getppid(), 0),
    "limits": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CPU),
    "executable_memory": executable_memory,
    "chown": lambda: os.chown(sys.argv[3], 65534, 65534),
}
try:
    {"all": confine.confine, "none": lambda: None}.get(sys.argv[1], getattr(kernel, sys.argv[1], None))()
except OSError:
    print("unavailable")
    sys.exit()
done = []
for name, attempt in TRIED.items():
    try:
        attempt()
        done.append(name)
    except OSError:
        pass
sys.stdout.write(" ".join(done))
sys.stdout.flush()
"""


def possible(wall: str, tmp_path: Path, port: int) -> set[str]:
    """What a process can still do behind it."""
    script = tmp_path / "probe.py"
    script.write_text(PROBE)
    arguments = [sys.executable, str(script), wall, str(port), str(tmp_path)]
    run = subprocess.run(arguments, capture_output=True, timeout=LIMIT_S, check=True)
    return set(run.stdout.decode().split())


def kernel_says(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def same_network(pid: int) -> bool:
    return Path(f"/proc/{pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink()


async def tried(wall: str, tmp_path: Path) -> set[str]:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        return await asyncio.to_thread(possible, wall, tmp_path, server.sockets[0].getsockname()[1])


async def test_the_probe_can_tell(tmp_path: Path) -> None:
    """Without a wall it does all of it (as whoever is not root: all but one)."""
    done = await tried("none", tmp_path)
    assert {"read", "write", "list", "socket", "udp", "tcp", "fork", "signal", "limits", "executable_memory"} <= done


async def test_behind_all_walls_nothing_is_left(tmp_path: Path) -> None:
    assert await tried("all", tmp_path) == set()


async def test_the_filter_alone_is_enough(tmp_path: Path) -> None:
    assert await tried("filter_system_calls", tmp_path) == set()


async def test_landlock_alone_keeps_files(tmp_path: Path) -> None:
    """On kernels that have it; old ones know nothing of TCP."""
    done = await tried("restrict_files", tmp_path)
    assert done == {"unavailable"} or not done & {"read", "write", "list"}


async def test_the_network_alone_is_gone(tmp_path: Path) -> None:
    """Where a process may leave it."""
    assert not await tried("leave_network", tmp_path) & {"udp", "tcp"}


@pytest.mark.parametrize("call", ["os.execv('/bin/true', ['true'])", "libc.ptrace(0, 0, 0, 0)"])
def test_what_nobody_does_by_mistake_is_the_end(call: str) -> None:
    script = (
        f"import ctypes, os\nfrom transcoder import kernel\nlibc = ctypes.CDLL(None)\nkernel.filter_system_calls()\n{call}"
    )
    run = subprocess.run([sys.executable, "-c", script], timeout=LIMIT_S, check=False)
    assert run.returncode == -31  # SIGSYS


async def test_a_child_says_which_walls_stand_and_the_kernel_agrees() -> None:
    async with asyncio.timeout(LIMIT_S):
        child = await Child.start(LIMIT_S)
        try:
            status, in_our_network = kernel_says(child.pid), same_network(child.pid)
        finally:
            await child.kill()
    standing = set(child.walls.standing.split(", "))
    assert standing | {wall.split(" (")[0] for wall in child.walls.missing.split(", ") if wall} == {
        "network", "capabilities", "landlock", "seccomp",
    }  # fmt: skip
    assert "seccomp" in standing
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert ("network" in standing) != in_our_network


async def test_a_wall_that_cannot_be_had_is_named() -> None:
    """On a machine whose system calls are not listed the others stand, and the reason is told."""
    script = (
        "import platform\nplatform.machine = lambda: 'vax'\n"
        "from transcoder.confine import confine\nwalls = confine()\nprint(walls.standing, walls.missing)"
    )
    run = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script], capture_output=True, check=True)
    assert b"seccomp (no list of system calls for vax)" in run.stdout
    assert b"'capabilities'" in run.stdout


async def test_what_a_child_dies_of_is_still_told() -> None:
    """Its last words go to stderr, and it may end as it likes."""
    async with asyncio.timeout(LIMIT_S):
        child = await Child.start(LIMIT_S)
        with pytest.raises(ChildDied):
            await child.ask(wire.Ready("no", "request"), LIMIT_S)  # type: ignore[arg-type]
        assert "WireError: a child is not told Ready" in await child.kill()
