"""A port that waits for its program."""

from __future__ import annotations

import errno
import socket

import pytest

from runtime.ports import HeldPorts


def test_its_server_listens_on_it_as_often_as_it_starts() -> None:
    """Also with a client's connection left over from its life before."""
    with HeldPorts() as ports:
        port = ports.take()
        for _ in range(3):
            with (
                socket.create_server(("127.0.0.1", port)) as server,
                socket.create_connection(("127.0.0.1", port)) as client,
            ):
                server.accept()[0].close()
                assert client.recv(1) == b""


def test_nobody_who_asks_for_any_port_gets_it() -> None:
    """Were they not held, two or so of the fifty would be among six hundred of the kernel's choice."""
    with HeldPorts() as ports:
        held = {ports.take() for _ in range(50)}
        assert len(held) == 50
        others: list[socket.socket] = []
        try:
            for _ in range(600):
                others.append(sock := socket.socket())
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(("127.0.0.1", 0))
            assert not held & {sock.getsockname()[1] for sock in others}
        finally:
            for sock in others:
                sock.close()


def test_one_who_insists_on_it_without_reuse_is_refused() -> None:
    """Which shows that it is held at all."""
    with HeldPorts() as ports:
        port = ports.take()
        with socket.socket() as stranger, pytest.raises(OSError, match=r"in use") as refused:
            stranger.bind(("127.0.0.1", port))
        assert refused.value.errno == errno.EADDRINUSE
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", port))
