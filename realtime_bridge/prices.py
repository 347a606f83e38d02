"""PURE. Tokens, or minutes of audio → money, by a dated list of prices (`prices.json`).

A price is a decimal number of dollars, written as text: per million tokens of each sort, or per minute. Money is counted in
whole billionths of a dollar; each response and each transcription is rounded to one of them once, and sums are exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from fractions import Fraction

import msgspec

from streams.turns import Used
from streams.usage import NANO_USD

MS_A_TOKEN = 100
"""Of the user's speech. A model that is paid by the minute, but tells tokens, is paid for so much a token."""

_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")
"""`gpt-realtime-2025-08-28`: a snapshot costs what its model does."""

_READ = ("text_in", "audio_in", "image_in")
_WRITTEN = ("text_out", "audio_out")


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one model, in dollars. Where nothing is said of cached tokens they cost what others of their sort do."""

    text_in: str | None = None
    audio_in: str | None = None
    image_in: str | None = None
    cached_text_in: str | None = None
    cached_audio_in: str | None = None
    cached_image_in: str | None = None
    text_out: str | None = None
    audio_out: str | None = None
    minute: str | None = None
    """of audio: then there is no other price"""

    def __post_init__(self) -> None:
        named = {name for name in self.__struct_fields__ if getattr(self, name) is not None}
        if not named or ("minute" in named and len(named) > 1):
            raise ValueError("a model is paid by tokens (text_in, …) or by the minute, not both and not neither")
        for name in named:
            self.usd(name)

    def usd(self, name: str) -> Fraction | None:
        """As it is in the list; None: it is not there."""
        text = getattr(self, name)
        if text is None:
            return None
        try:
            value = Decimal(text)
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite() or value < 0:
            raise ValueError(f'{name} must be a number of dollars as text, such as "0.40", not {text!r}')
        return Fraction(value)

    def nano_usd(self, used: Used) -> int | None:
        """What it costs, rounded half to even. None: it has tokens of a sort that has no price here."""
        if (minute := self.usd("minute")) is not None:
            ms = used.audio_ms if used.of == "transcription" and used.audio_ms else used.audio_in * MS_A_TOKEN
            return round(minute * ms * NANO_USD / 60_000)
        usd = Fraction(0)  # per million tokens
        for name, count in _counts(used):
            price = self.usd(name)
            if price is None:
                price = self.usd(name.removeprefix("cached_"))
            if price is None and count:
                return None
            usd += (price or 0) * count
        return round(usd * NANO_USD / 1_000_000)


def _counts(used: Used) -> Iterator[tuple[str, int]]:
    """How many tokens are paid for at each price."""
    for name in _READ:
        cached = getattr(used, f"cached_{name}")
        yield name, getattr(used, name) - cached
        yield f"cached_{name}", cached
    for name in _WRITTEN:
        yield name, getattr(used, name)


class _List(msgspec.Struct, frozen=True):
    models: dict[str, Price]
    as_of: str = ""


class Prices:
    """What each model costs."""

    def __init__(self, models: dict[str, Price], as_of: str) -> None:
        self.as_of = as_of
        """year and month, or the day"""
        self._models = models

    def of(self, model: str) -> Price | None:
        """None: nobody has said."""
        return self._models.get(model) or self._models.get(_DATED.sub("", model))

    @classmethod
    def parse(cls, *lists: bytes) -> Prices:
        """From the text of `prices.json`, and of others that go above it, model by model. Raises ValueError."""
        models: dict[str, Price] = {}
        as_of = ""
        for text in lists:
            read = msgspec.json.decode(text, type=_List)
            models |= read.models
            as_of = read.as_of or as_of
        return cls(models, as_of)
