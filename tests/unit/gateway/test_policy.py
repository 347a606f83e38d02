"""What the settings mean, and which of them are refused."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gateway.policy import Policy, warn
from gateway.settings import GatewaySettings
from runtime.errors import SettingsError
from tests.unit.gateway.test_auth import NOW, RSA_KEY, pem, signed

SECRET = "s" * 32


def policy(**settings: str) -> Policy:
    return Policy.of(GatewaySettings(**settings))  # type: ignore[arg-type]


def test_without_a_key_nobody_is_asked() -> None:
    """On this machine."""
    assert policy().mode == "off"
    assert not policy().needs_token("openai")


def test_with_a_key_the_contracts_hold() -> None:
    """The doors whose clients carry no token let them in; one that nobody has thought of does not."""
    found = policy(JWT_SECRET=SECRET)
    assert found.mode == "contract"
    needed = {door for door in ("watch", "openai", "tickets", "mobile", "ios", "recorder", "new") if found.needs_token(door)}
    assert needed == {"watch", "openai", "tickets", "new"}


def test_required_and_off() -> None:
    assert policy(JWT_SECRET=SECRET, PARLEY_AUTH="required").needs_token("mobile")
    assert not policy(JWT_SECRET=SECRET, PARLEY_AUTH="off").needs_token("openai")


def test_the_key_decides_wherever_it_listens() -> None:
    """In a container every address is listened on, and who reaches it is decided outside."""
    assert policy(HOST="0.0.0.0", PARLEY_AUTH="auto").mode == "off"
    assert policy(HOST="0.0.0.0", PARLEY_AUTH="auto", JWT_SECRET=SECRET).mode == "contract"


def test_a_public_key_is_itself_or_a_path(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text(pem("RS256"))
    for named in (pem("RS256"), f"{file}"):
        verifier = policy(PARLEY_JWT_PUBLIC_KEY=named).verifier
        assert verifier is not None
        assert verifier.verify(signed(RSA_KEY, "RS256"), NOW).user == "ann"


@pytest.mark.parametrize("mode", ["required", "contract"])
def test_tokens_need_a_key(mode: str) -> None:
    with pytest.raises(SettingsError, match=f"PARLEY_AUTH is {mode}, but there is nothing to check tokens with"):
        policy(PARLEY_AUTH=mode)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "voice.example"])
def test_nobody_lets_everybody_in_by_accident(host: str, caplog: pytest.LogCaptureFixture) -> None:
    """On an address that others reach it takes a key, or saying so, which is then said aloud."""
    with pytest.raises(SettingsError, match="PARLEY_AUTH=off"):
        policy(HOST=host)
    assert policy(HOST=host, JWT_SECRET=SECRET).mode == "contract"
    settings = GatewaySettings(HOST=host, PARLEY_AUTH="off")
    warn(settings, Policy.of(settings))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert host in caplog.text


@pytest.mark.parametrize(
    ("name", "value"),
    [("JWT_SECRET", "short"), ("PARLEY_JWT_PUBLIC_KEY", "/nowhere/key.pem"), ("PARLEY_JWT_PUBLIC_KEY", "-----BEGIN X-----")],
)
def test_a_wrong_key_is_named(name: str, value: str) -> None:
    """Without saying what it is."""
    with pytest.raises(SettingsError, match=f"^{name} is not usable: ") as raised:
        policy(**{name: value})
    assert "short" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"), [("PARLEY_ORIGINS", "*"), ("PARLEY_TRUSTED_PROXIES", "proxy"), ("PARLEY_AUTH", "maybe")]
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name} is not usable: "):
        GatewaySettings.load()
