"""The sd_notify protocol, as systemd and our supervisor speak it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from runtime.notify import ready, stopping


@pytest.fixture
def address(tmp_path: Path) -> str:
    """A path that fits into a socket's address."""
    return os.path.relpath(tmp_path / "notify")


@pytest.mark.parametrize("abstract", [False, True])
def test_readiness_and_the_end_are_told_with_the_process_id(
    monkeypatch: pytest.MonkeyPatch, address: str, abstract: bool
) -> None:
    """To a path, or to a name in the abstract name space, which is written with an @."""
    name = f"@parley-test-{os.getpid()}" if abstract else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1))
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        ready()
        stopping()
        assert listener.recv(100) == f"READY=1\nMAINPID={os.getpid()}".encode()
        assert listener.recv(100) == f"STOPPING=1\nMAINPID={os.getpid()}".encode()


def test_without_a_socket_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service also runs alone."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    ready()


def test_a_listener_that_is_gone_ends_nobody(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Whoever started the process may have ended before it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    stopping()
    os.unlink(address)
    stopping()
