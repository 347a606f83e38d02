"""What a response costs, by cases that were reckoned by hand, and what a list of prices may say."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from realtime_bridge.prices import Prices
from streams.turns import Used
from tests.unit.realtime_bridge.billing import PRICES


def used(model: str, *, of: Literal["response", "transcription"] = "response", **numbers: Any) -> Used:
    return Used(of=of, id="x", model=model, at_ms=0, **numbers)


def cost(model: str, **numbers: Any) -> int | None:
    price = PRICES.of(model)
    assert price is not None
    return price.nano_usd(used(model, **numbers))


def test_a_snapshot_costs_what_its_model_does() -> None:
    assert PRICES.of("gpt-realtime-2025-08-28") is PRICES.of("gpt-realtime")


def test_a_model_that_nobody_has_priced() -> None:
    assert PRICES.of("my-own-model") is None


def test_a_minute_of_each_side() -> None:
    """600 tokens of the user's speech at $32 a million, 1200 of the model's at $64."""
    assert cost("gpt-realtime-2.1", audio_in=600) == 19_200_000
    assert cost("gpt-realtime-2.1", audio_out=1200) == 76_800_000


def test_half_a_billionth_goes_to_the_even_one() -> None:
    """Once for each entry: a price of $0.0005 a million is half a billionth a token."""
    prices = Prices.parse(b'{"models": {"m": {"text_in": "0.0005"}}}')
    price = prices.of("m")
    assert price is not None
    assert [price.nano_usd(used("m", text_in=count)) for count in (1, 2, 3, 4)] == [0, 1, 2, 2]


def test_cached_tokens_without_a_price_of_their_own_cost_what_others_do() -> None:
    assert cost("gpt-4o-transcribe", text_in=10, cached_text_in=10) == 25_000


def test_tokens_of_a_sort_that_has_no_price_are_not_free() -> None:
    """What an image costs there nobody has said."""
    assert cost("gpt-4o-transcribe", image_in=1) is None


def test_a_list_of_ones_own_goes_above_the_built_in() -> None:
    """Model by model; the day is its own."""
    own = b'{"as_of": "2027-01", "models": {"gpt-realtime": {"audio_out": "1"}, "mine": {"minute": "0.06"}}}'
    prices = Prices.parse(
        b'{"as_of": "2026-11", "models": {"gpt-realtime": {"audio_out": "64"}, "b": {"minute": "1"}}}', own
    )
    assert prices.as_of == "2027-01"
    mine, replaced = prices.of("mine"), prices.of("gpt-realtime")
    assert mine is not None
    assert replaced is not None
    assert replaced.audio_out == "1"
    assert prices.of("b") is not None
    assert mine.nano_usd(used("mine", of="transcription", audio_ms=1500)) == 1_500_000


@pytest.mark.parametrize(
    "price",
    [
        "{}",
        '{"minute": "0.1", "text_in": "1"}',
        '{"text_in": "cheap"}',
        '{"text_in": "-1"}',
        '{"text_in": "NaN"}',
        '{"text_in": 0.4}',
        '{"texts_in": "1"}',
    ],
)
def test_what_is_no_price_is_refused(price: str) -> None:
    """Floats too: they are not what was written."""
    with pytest.raises(ValueError, match=r"\$\.models"):
        Prices.parse(b'{"models": {"m": %b}}' % price.encode())
