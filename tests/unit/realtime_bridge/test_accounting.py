"""What the bridge reads before it counts: prices, and limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from realtime_bridge.accounting import BUILT_IN, limits_of, load_prices
from realtime_bridge.budget import Limits
from realtime_bridge.settings import BridgeSettings
from runtime.errors import SettingsError


def test_the_default_models_have_prices() -> None:
    """And the list says how old it is."""
    prices, settings = load_prices(None), BridgeSettings(OPENAI_API_KEY="k")
    assert prices.of(settings.openai_realtime_model) is not None
    assert prices.of(settings.transcription_model or "") is not None
    assert prices.as_of >= "2026-11"


def test_a_list_of_ones_own_is_added(tmp_path: Path) -> None:
    own = tmp_path / "prices.json"
    own.write_text('{"models": {"my-own": {"minute": "0.01"}}}')
    prices = load_prices(own)
    assert prices.of("my-own") is not None
    assert prices.of("gpt-realtime-2.1") is not None
    assert load_prices(BUILT_IN).as_of == prices.as_of


@pytest.mark.parametrize("text", ["", "[]", "{", '{"models": {"m": {"minute": 1}}}', '{"models": {"m": {}}}', "\xff"])
def test_a_list_that_is_none_ends_the_start(tmp_path: Path, text: str) -> None:
    """With a sentence that names the variable and the file."""
    own = tmp_path / "prices.json"
    own.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError, match=rf"^PARLEY_PRICES is not usable: {own} is no list of prices"):
        load_prices(own)


def test_a_list_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load_prices(tmp_path / "none.json")


def test_nought_is_no_limit() -> None:
    none = BridgeSettings(OPENAI_API_KEY="k", PARLEY_MAX_SESSION_S=0, PARLEY_IDLE_STOP_S=0)
    assert limits_of(none) == Limits()
    every = BridgeSettings(
        OPENAI_API_KEY="k",
        PARLEY_MAX_SESSION_USD="0.25",
        PARLEY_MAX_SESSION_S=90,
        PARLEY_MAX_USER_DAY_USD="1.10",
        PARLEY_MAX_USER_DAY_MINUTES=2.5,
        PARLEY_IDLE_STOP_S=1.5,
    )
    assert limits_of(every) == Limits(250_000_000, 90_000, 1_100_000_000, 150_000, 1500)
