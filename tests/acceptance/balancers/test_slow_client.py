"""What a load balancer takes for a client that does not read is little: a gateway counts it as having left for it."""

from __future__ import annotations

import queue
import socket
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.acceptance.balancers.balancer import KINDS, Kind, balancing

KERNEL_BYTES = 64 << 10
"""As `gateway.transports.outflow` has it."""
OFFERED_BYTES = 8 << 20
TAKEN_BYTES = 512 << 10
"""Of which a fourth lies in the kernel on the gateway's side."""
STUCK_S = 1.0


class Endless(BaseHTTPRequestHandler):
    """Answers with as much as it gets rid of."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.path != "/audio":  # it is asked how it is
            self.wfile.write(b"0\r\n\r\n")
            return
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
        self.connection.settimeout(STUCK_S)
        taken = 0
        piece = b"1000\r\n" + bytes(4096) + b"\r\n"
        try:
            while taken < OFFERED_BYTES:
                taken += self.connection.send(piece[taken % len(piece) :])
        except TimeoutError:
            self.close_connection = True
        TAKEN.put(taken)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Into no log."""


TAKEN: queue.SimpleQueue[int] = queue.SimpleQueue()


@pytest.mark.parametrize("kind", KINDS)
def test_little_is_taken_for_who_does_not_read(kind: Kind, tmp_path: Path) -> None:
    """Of eight megabytes that are offered."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server, ExitStack() as opened:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        opened.callback(thread.join)
        opened.callback(server.shutdown)
        front = opened.enter_context(balancing(kind, [f"127.0.0.1:{server.server_port}"], tmp_path))
        host, _, port = front.partition(":")
        client = opened.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.connect((host, int(port)))
        client.sendall(b"GET /audio HTTP/1.1\r\nHost: here\r\n\r\n")
        assert client.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200"
        assert TAKEN.get(timeout=40) < TAKEN_BYTES
