"""What a fleet still holds when nobody talks any more."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from cli.load.leaks import Held, Holdings, _held, is_a_sessions, leaks

HELD = Held(tasks=20, threads=4, descriptors=30, sockets=12, children=2, memory_mb=80.0)
BEFORE = Holdings({"bridge-1": HELD}, 20, 3.0, 0, 0, frozenset(), frozenset())


def test_the_same_as_before_is_no_leak_nor_is_a_pool() -> None:
    assert list(leaks(BEFORE, BEFORE)) == []
    assert list(leaks(BEFORE, replace(BEFORE, processes={"bridge-1": replace(HELD, tasks=26, sockets=10)}))) == []


@pytest.mark.parametrize("what", ["tasks", "threads", "descriptors", "sockets", "children"])
def test_more_of_anything_is_one(what: str) -> None:
    more = replace(HELD, **{what: getattr(HELD, what) + 7})
    (said,) = leaks(BEFORE, replace(BEFORE, processes={"bridge-1": more}))
    assert what in said


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"processes": {"bridge-1": replace(HELD, memory_mb=130.0)}}, "grown"),
        ({"connections": 23}, "connections"),
        ({"redis_mb": 50.0}, "Redis has grown"),
        ({"sessions": 1}, "on the list"),
        ({"handed_out": 1}, "handed out"),
        ({"session_keys": frozenset({"parley:at:a:b"})}, "parley:at:a:b"),
        ({"lasting_keys": frozenset({"parley:x"})}, "for ever"),
    ],
)
def test_what_should_be_gone(change: dict[str, object], word: str) -> None:
    (said,) = leaks(BEFORE, replace(BEFORE, **change))  # type: ignore[arg-type]
    assert word in said


def test_what_is_kept_of_a_session_outlives_it() -> None:
    keys = (
        "parley:{ab}:up",
        "parley:{ab}:play:opus",
        "parley:at:u:c",
        "parley:{ab}:kept",
        "parley:of:u",
        "parley:usage:u:1",
    )
    assert [key for key in keys if is_a_sessions(key)] == ["parley:{ab}:up", "parley:{ab}:play:opus", "parley:at:u:c"]


def test_a_thread_that_ends_while_one_looks_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was listed a moment before."""
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: [*listed(path), *(["0"] if path.endswith("/task") else [])])
    assert _held(os.getpid(), 0, 0.0, frozenset()).threads > 1
