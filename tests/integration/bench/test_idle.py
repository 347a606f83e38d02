"""The bench's idle clients, on the gateway as it runs."""

from __future__ import annotations

import pytest

from bench import idle

CONNECTIONS = 20


def test_idle_clients_come_stay_and_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a token each, and nothing of them stays open."""
    monkeypatch.setattr(idle, "WATCHED_S", 0.2)
    monkeypatch.setattr(idle, "SETTLE_S", 0.0)
    monkeypatch.setattr(idle, "_FREE_AGAIN_S", 0.0)
    monkeypatch.setattr(idle, "_OWN_FILES", 16)
    for one in idle.measure(CONNECTIONS):
        assert one.refusals == ()
        assert one.open == CONNECTIONS
        assert one.files > CONNECTIONS / 2  # who came first may still have been on its way out
        assert one.files_left < CONNECTIONS
        assert one.memory[one.server].pss > 0
        assert set(one.cpu_ms_a_second) == {one.server, "client", *(["redis"] if one.arm == "parley" else [])}
