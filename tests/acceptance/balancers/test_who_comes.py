"""Behind HAProxy and nginx a gateway is told who the client is, and what a client claims to be is dropped."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gateway.addresses import client_address, parse_networks
from tests.acceptance.balancers.balancer import KINDS, Kind, balancing

CLIENT = "127.0.0.9"
CLAIMED = {
    "X-Forwarded-For": "192.0.2.7",
    "X-Forwarded-Host": "bank.example",
    "X-Forwarded-Proto": "https",
    "Forwarded": "for=192.0.2.7;host=bank.example;proto=https",
}


class Behind(BaseHTTPRequestHandler):
    """Tells what came of the claims, and of the path, which has to come as it was sent."""

    def do_GET(self) -> None:
        told = {name: self.headers.get_all(name, []) for name in ("Host", *CLAIMED)}
        body = json.dumps({**told, "path": self.path}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Into no log."""


@contextmanager
def behind() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Behind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def ask(front: str, path: str) -> tuple[int, bytes]:
    """As a client that claims."""
    connection = http.client.HTTPConnection(front, timeout=20, source_address=(CLIENT, 0))
    try:
        connection.request("GET", path, headers=CLAIMED)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def logged(file: Path, words: str) -> str:
    """All of the log, once these words are in it: they are written behind the answer, and lost with the process."""
    limit = time.monotonic() + 20
    while words not in (log := file.read_text()):
        assert time.monotonic() < limit, log
        time.sleep(0.02)
    return log


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_cannot_say_who_it_is(kind: Kind, tmp_path: Path) -> None:
    """Nor by what name and how it came: the load balancer says so, whom the gateways trust."""
    path = "/a%2Fb?c=%2B&token=secret"
    with behind() as gateway, balancing(kind, [gateway], tmp_path) as front:
        status, body = ask(front, path)
    told = json.loads(body)
    assert status == 200
    assert client_address("127.0.0.1", ",".join(told["X-Forwarded-For"]), parse_networks("127.0.0.1")) == CLIENT
    assert told == {
        "Host": [front],
        "X-Forwarded-For": [CLIENT],
        "X-Forwarded-Proto": ["http"],
        "X-Forwarded-Host": [],
        "Forwarded": [],
        "path": path,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_no_token_is_logged_when_nobody_is_there(kind: Kind, tmp_path: Path) -> None:
    """The client is told at once, and the operator in a line without the query."""
    with ExitStack() as opened:
        with behind() as gateway:
            front = opened.enter_context(balancing(kind, [gateway], tmp_path))
        status, _ = ask(front, "/realtime/stream?token=secret")
        log = logged(tmp_path / f"{kind}.log", "GET /realtime/stream\n")
    assert status in (502, 503, 504)
    assert f" {status} " in log
    assert "secret" not in log
