"""A token for development."""

from __future__ import annotations

import time

import pytest

from cli.app import main
from cli.errors import TokenError
from cli.settings import CommandSettings
from cli.token import run, token_for_check
from gateway.auth import Device, Verifier, secret_keys

SECRETS = f"{'n' * 32} {'o' * 32}"


def test_it_is_good_and_of_the_first_secret(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing else is printed."""
    monkeypatch.setenv("JWT_SECRET", SECRETS)
    monkeypatch.setattr("sys.argv", ["parley", "token", "--user", "ann", "--device", "watch", "--days", "2"])
    with pytest.raises(SystemExit):
        main()
    token = capsys.readouterr().out.removesuffix("\n")
    verifier = Verifier(secret_keys("n" * 32))
    assert verifier.verify(token, time.time() + 86_400 * 2 - 60) == Device("ann", "watch")


def test_who_is_not_named_is_random(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRETS)
    verifier = Verifier(secret_keys(SECRETS))
    first, second = (verifier.verify(run(None, None, 7), time.time()) for _ in range(2))
    assert first != second


def test_without_a_usable_secret_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for secret in ("", "short"):
        monkeypatch.setenv("JWT_SECRET", secret)
        with pytest.raises(TokenError, match="openssl rand -hex 32"):
            run(None, None, 7)


def test_the_self_check_shows_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing where nobody is asked."""
    monkeypatch.delenv("PARLEY_AUTH", raising=False)
    monkeypatch.setenv("JWT_SECRET", SECRETS)
    shown = token_for_check(CommandSettings.load())
    assert shown is not None
    assert Verifier(secret_keys(SECRETS)).verify(shown, time.time()).user == "self-check"
    monkeypatch.setenv("PARLEY_AUTH", "off")
    assert token_for_check(CommandSettings.load()) is None
    monkeypatch.delenv("PARLEY_AUTH")
    monkeypatch.delenv("JWT_SECRET")
    assert token_for_check(CommandSettings.load()) is None
