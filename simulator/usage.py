"""PURE. Token counts as the Realtime API bills them: user audio 10 a second, assistant audio 20 a second."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from simulator.items import Item
from simulator.wire import Object

_USER_MS_A_TOKEN = 100
_ASSISTANT_MS_A_TOKEN = 50
_LETTERS_A_TOKEN = 4
"""Nobody can count text tokens without the model's own table; a quarter of the letters is the usual estimate."""


@dataclass(frozen=True, slots=True)
class Tokens:
    text: int = 0
    audio: int = 0

    @property
    def total(self) -> int:
        return self.text + self.audio

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.text + other.text, self.audio + other.audio)

    def common(self, other: Tokens) -> Tokens:
        return Tokens(min(self.text, other.text), min(self.audio, other.audio))

    def details(self) -> Object:
        return {"text_tokens": self.text, "audio_tokens": self.audio}


def of_text(text: str) -> Tokens:
    return Tokens(text=math.ceil(len(text) / _LETTERS_A_TOKEN))


def of_user_audio(ms: float) -> Tokens:
    return Tokens(audio=math.ceil(ms / _USER_MS_A_TOKEN))


def of_assistant_audio(ms: float) -> Tokens:
    return Tokens(audio=math.ceil(ms / _ASSISTANT_MS_A_TOKEN))


def of_items(items: Iterable[Item]) -> Tokens:
    """What these items cost as the input of a response."""
    return sum((_of_item(item) for item in items), Tokens())


def wire(read: Tokens, cached: Tokens, written: Tokens) -> Object:
    """The `usage` of a response; what was cached is part of what was read."""
    return {
        "total_tokens": read.total + written.total,
        "input_tokens": read.total,
        "output_tokens": written.total,
        "input_token_details": {
            **read.details(),
            "image_tokens": 0,
            "cached_tokens": cached.total,
            "cached_tokens_details": {**cached.details(), "image_tokens": 0},
        },
        "output_token_details": written.details(),
    }


def _of_item(item: Item) -> Tokens:
    words = [str(part.get("text") or part.get("transcript") or "") for part in item.parts]
    words += [str(item.body.get(key, "")) for key in ("arguments", "output")]
    tokens = of_text("".join(words))
    if item.sound is None:
        return tokens
    return tokens + (of_user_audio if item.role == "user" else of_assistant_audio)(item.sound.ms)
