"""What the command line reads from the environment."""

from __future__ import annotations

import pytest

from cli.settings import CommandSettings, http_url
from runtime.errors import SettingsError


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("::1", "http://[::1]:8000"),
        ("voice.example", "http://voice.example:8000"),
    ],
)
def test_an_address_to_listen_on_becomes_one_to_talk_to(host: str, url: str) -> None:
    """Nobody can dial 0.0.0.0."""
    assert http_url(host, 8000) == url


@pytest.mark.parametrize(("value", "own"), [(None, True), ("", True), ("redis://10.0.0.1:6379/0", False)])
def test_the_server_is_our_own_unless_one_is_named(monkeypatch: pytest.MonkeyPatch, value: str | None, own: bool) -> None:
    """An empty variable is none."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    if value is not None:
        monkeypatch.setenv("REDIS_URL", value)
    assert CommandSettings.load().own_server is own


def test_a_wrong_port_is_named_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not in a traceback."""
    monkeypatch.setenv("PORT", "eighty")
    with pytest.raises(SettingsError, match="PORT is not usable: "):
        CommandSettings.load()
