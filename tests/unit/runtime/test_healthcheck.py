"""What a container's health check runs."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from runtime.healthcheck import STALE_AFTER_S, trouble
from runtime.ports import HeldPorts


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that has one answer to one request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/readyz"
        finally:
            thread.join()


def test_an_address_that_answers_is_healthy() -> None:
    with answering(200, b"{}") as url:
        assert trouble(url, 0.0) is None


def test_the_reason_is_passed_on() -> None:
    """It stands in `docker inspect`."""
    with answering(503, b'{"reason":"Redis has not answered for 2 s"}') as url:
        assert trouble(url, 0.0) == f'{url} answers 503: {{"reason":"Redis has not answered for 2 s"}}'


def test_nobody_who_listens_is_trouble() -> None:
    with HeldPorts() as ports:
        told = trouble(f"http://127.0.0.1:{ports.take()}/readyz", 0.0)
    assert told is not None
    assert "does not answer: [Errno 111] Connection refused" in told


def test_a_heartbeat_grows_old(tmp_path: Path) -> None:
    """Healthy while it is young."""
    path = tmp_path / "heartbeat"
    assert "is not there" in str(trouble(str(path), 0.0))
    path.touch()
    beaten = path.stat().st_mtime
    assert trouble(str(path), beaten + STALE_AFTER_S - 0.5) is None
    assert f"is {STALE_AFTER_S:.0f} s old" in str(trouble(str(path), beaten + STALE_AFTER_S))


@pytest.mark.parametrize(("there", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_tells(tmp_path: Path, there: bool, code: int) -> None:
    """And standard error says why."""
    path = tmp_path / "heartbeat"
    if there:
        path.touch()
    ran = subprocess.run([sys.executable, "-m", "runtime.healthcheck", path], capture_output=True, text=True, check=False)
    assert ran.returncode == code
    assert bool(ran.stderr) is not there
