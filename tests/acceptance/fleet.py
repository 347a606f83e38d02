"""Several processes of each service, each of which may be stopped or killed by name; none is restarted by itself."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from redis import Redis

Service = Literal["gateway", "transcoder", "realtime_bridge"]
SERVICES: tuple[Service, ...] = ("transcoder", "realtime_bridge", "gateway")


@dataclass
class Member:
    """One process."""

    service: Service
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    url: str = ""
    """of a gateway"""
    listens: threading.Event = field(default_factory=threading.Event)

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def send(self, sig: signal.Signals) -> None:
        self.process.send_signal(sig)


class Fleet:
    """Starts processes and ends them."""

    def __init__(
        self, redis_url: str, base_url: str, grace_s: float = 60.0, settings: Mapping[str, str] | None = None
    ) -> None:
        """`settings`: of all processes, on top of the others."""
        self._settings = settings or {}
        self.redis_url = redis_url
        self.redis = Redis.from_url(redis_url)
        self._directory = tempfile.TemporaryDirectory()
        self._base_url, self._grace_s = base_url, grace_s
        self.members: list[Member] = []
        self._readers: list[threading.Thread] = []

    @property
    def recordings(self) -> Path:
        """Where its transcoders keep them."""
        return Path(self._directory.name) / "recordings"

    def of(self, service: Service) -> list[Member]:
        """Those that live."""
        return [member for member in self.members if member.service == service and member.is_alive]

    def start(self, service: Service) -> Member:
        """One more, ready to work. It dies with the thread that calls this: PR_SET_PDEATHSIG means a thread by a parent."""
        return self.start_all(service)[0]

    def start_all(self, *services: Service) -> list[Member]:
        """One more of each, at the same time: most of what a start takes is waiting."""
        with ExitStack() as stack:
            started = [self._spawn(service, stack) for service in services]
            for member, ready in started:
                try:
                    ready.recv(1024)
                except TimeoutError:
                    raise AssertionError("".join(member.lines)) from None
        members = [member for member, _ in started]
        for member in members:
            if member.service == "gateway":
                assert member.listens.wait(10), "".join(member.lines)
        return members

    def _spawn(self, service: Service, stack: ExitStack) -> tuple[Member, socket.socket]:
        """A process, and where it will say that it is ready."""
        address = Path(self._directory.name) / f"notify-{len(self.members)}"
        ready = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        ready.bind(str(address))
        ready.settimeout(20)
        environment = {
            **os.environ,
            "REDIS_URL": self.redis_url,
            "OPENAI_BASE_URL": self._base_url,
            "OPENAI_API_KEY": "simulator",
            "HOST": "127.0.0.1",
            "PORT": "0",
            "LOG_LEVEL": "INFO",
            "NOTIFY_SOCKET": str(address),
            "PARLEY_PARENT_PID": str(os.getpid()),
            "PARLEY_GRACE_S": str(self._grace_s),
            "PARLEY_DECODERS": "1",
            "PARLEY_RECORDINGS": str(self.recordings),
            **self._settings,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", service],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        member = Member(service, process)
        reader = threading.Thread(target=self._read, args=(member,), name=service)
        reader.start()
        self._readers.append(reader)
        self.members.append(member)
        return member, ready

    def complete(self, count: int = 2) -> None:
        """Two of each service, as before the last one died."""
        self.start_all(*(service for service in SERVICES for _ in range(count - len(self.of(service)))))

    def _read(self, member: Member) -> None:
        assert member.process.stderr is not None
        for line in member.process.stderr:
            member.lines.append(line)
            if match := re.search(r'listens on http([^\s"]+)', line):
                member.url = "ws" + match[1]
                member.listens.set()

    def bridge_of(self, sid: str) -> Member | None:
        """The process that has this session's lease."""
        lease = self.redis.get(f"parley:{{{sid}}}:lease")
        owner = lease.decode() if isinstance(lease, bytes) else ""
        return self._with_pid(owner.split("|")[0].rpartition(":")[2])

    def transcoder_of(self, sid: str) -> Member | None:
        """The process that has this session on its list."""
        entry = self.redis.hget(f"parley:{{{sid}}}:marks", "dispatch/transcoder")
        if not isinstance(entry, bytes):
            return None
        pending: Any = self.redis.xpending_range("parley:dispatch:transcoder", "workers", entry.decode(), entry.decode(), 1)
        return self._with_pid(pending[0]["consumer"].decode().rpartition(":")[2]) if pending else None

    def _with_pid(self, pid: str) -> Member | None:
        return next((member for member in self.members if str(member.process.pid) == pid), None)

    def stop(self) -> None:
        """End all of them, and have all that they have said."""
        for member in self.members:
            if member.is_alive:
                with contextlib.suppress(ProcessLookupError):
                    member.send(signal.SIGCONT)
                    member.send(signal.SIGTERM)
        for member in self.members:
            try:
                member.process.wait(15)
            except subprocess.TimeoutExpired:
                member.process.kill()
                member.process.wait()
        for reader in self._readers:
            reader.join()

    def close(self) -> None:
        """End all of them, and forget them."""
        self.stop()
        for member in self.members:
            assert member.process.stderr is not None
            member.process.stderr.close()
        self.redis.close()
        self._directory.cleanup()


@contextmanager
def fleet(
    redis_url: str, base_url: str, services: Sequence[Service] = 2 * SERVICES, *, grace_s: float = 60.0
) -> Iterator[Fleet]:
    """Two of each, or these, ended afterwards."""
    ours = Fleet(redis_url, base_url, grace_s)
    try:
        ours.start_all(*services)
        yield ours
    finally:
        ours.close()
