"""The load balancers themselves, with the files of `deploy/` but for where they listen and who is behind them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from runtime.child import die_with_parent
from runtime.ports import HeldPorts

HERE = Path(__file__).parent
DEPLOY = HERE.parents[2] / "deploy"
Kind = Literal["haproxy", "nginx"]
KINDS: tuple[Kind, ...] = ("haproxy", "nginx")


def missing() -> list[str]:
    """Those that this machine does not have."""
    return [kind for kind in KINDS if shutil.which(kind) is None]


def are_required() -> bool:
    """Whether a missing one is a failure."""
    return os.environ.get("PARLEY_REQUIRE_BALANCERS") == "1"


def configuration(kind: Kind, gateways: Sequence[str], port: int, health_port: int, directory: Path) -> str:
    """The file of `deploy/` with these gateways (host:port) in the place of those that Docker's DNS knows."""
    health = ("127.0.0.1:8404", f"127.0.0.1:{health_port}")
    if kind == "haproxy":
        servers = "\n".join(f"    server gateway-{n} {gateway}" for n, gateway in enumerate(gateways))
        changes = [
            health,
            ("bind :8000", f"bind 127.0.0.1:{port}"),
            (" resolvers docker resolve-prefer ipv4 init-addr none", ""),
            ("    server-template gateway- 32 gateway:8000", servers),
        ]
    else:
        servers = " ".join(f"server {gateway} max_fails=0;" for gateway in gateways)  # a name has no memory either
        changes = [
            health,
            ("listen 8000 ", f"listen 127.0.0.1:{port} "),
            ("gateway:8000;\n\n        location / {", "gateways;\n\n        location / {"),
            ("gateway:8000;\n\n        location = ", "gateways;\n\n        location = "),
            ("    resolver 127.0.0.11 valid=1s ipv6=off;\n", f"    upstream gateways {{ {servers} }}\n"),
            ("pid /tmp/", f"pid {directory}/"),
            *((f"{name}_temp_path /tmp/", f"{name}_temp_path {directory}/") for name in TEMPORARY),
        ]
    text = (DEPLOY / f"{kind}.{'cfg' if kind == 'haproxy' else 'conf'}").read_text()
    for there, here in changes:
        assert text.count(there) == 1, there
        text = text.replace(there, here)
    return text


TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def balancing(kind: Kind, gateways: Sequence[str], directory: Path) -> Iterator[str]:
    """A load balancer in front of these gateways (`host:port`); its own address, `host:port`."""
    with HeldPorts() as ports:
        port, health_port = ports.take(), ports.take()  # HAProxy would share one with whoever has it
        file, log = directory / f"{kind}.conf", directory / f"{kind}.log"
        file.write_text(configuration(kind, gateways, port, health_port, directory))
        command = {
            "haproxy": ["haproxy", "-db", "-f", str(file)],
            "nginx": ["nginx", "-e", "stderr", "-c", str(file), "-g", "daemon off;"],
        }[kind]
        with log.open("w") as lines:
            process = subprocess.Popen(
                command, stdout=lines, stderr=lines, preexec_fn=partial(die_with_parent, parent=os.getpid())
            )
        try:
            _until_healthy(f"http://127.0.0.1:{health_port}/healthz", process, log)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def _until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + 20
    while True:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < limit, log.read_text()
            time.sleep(0.05)
