"""Settings are read once, and wrong ones are told in sentences."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from runtime.errors import SettingsError
from runtime.settings import Settings

NAMES = ("REDIS_URL", "LOG_LEVEL", "PARLEY_LOG_FORMAT")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As compose files leave them."""
    monkeypatch.setenv("LOG_LEVEL", "")
    assert Settings.load().log_level == "INFO"


def test_a_level_may_be_written_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As people do."""
    monkeypatch.setenv("LOG_LEVEL", "debug")
    assert Settings.load().log_level == "DEBUG"


@pytest.mark.parametrize("url", ["redis://h:1/0", "rediss://u:p@h/0", "unix:///run/redis.sock"])
def test_the_three_kinds_of_redis_url_are_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """As they are."""
    monkeypatch.setenv("REDIS_URL", url)
    assert Settings.load().redis_url == url


def test_each_wrong_value_has_its_sentence_and_is_not_repeated_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a secret."""
    monkeypatch.setenv("REDIS_URL", "http://hush")
    monkeypatch.setenv("LOG_LEVEL", "LOUD")
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    redis, level = str(caught.value).splitlines()
    assert redis.startswith("REDIS_URL is not usable: must look like redis://")
    assert level.startswith("LOG_LEVEL is not usable: ")
    assert "hush" not in str(caught.value)


def test_settings_do_not_change_after_they_were_read() -> None:
    """Whoever tries is told."""
    settings = Settings.load()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(settings, "log_level", "DEBUG")  # noqa: B010 - the type checker refuses the plain way, as it should
