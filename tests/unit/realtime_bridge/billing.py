"""For tests of what a conversation costs: the model's events, and the built-in prices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

import realtime_bridge
from realtime_bridge.prices import Prices
from realtime_bridge.server_events import ServerEvent, Unknown, parse

PRICES = Prices.parse((Path(realtime_bridge.__file__ or "").parent / "prices.json").read_bytes())


def event(kind: str, **fields: Any) -> ServerEvent | Unknown:
    return parse(msgspec.json.encode({"type": kind, "event_id": "e", **fields}))


def began(response: str) -> ServerEvent | Unknown:
    return event("response.created", response={"id": response})


def done(response: str, usage: dict[str, Any] | None, status: str = "completed") -> ServerEvent | Unknown:
    return event("response.done", response={"id": response, "status": status, "usage": usage})


def transcribed(item: str, usage: dict[str, Any] | None, part: int = 0) -> ServerEvent | Unknown:
    kind = "conversation.item.input_audio_transcription.completed"
    return event(kind, item_id=item, content_index=part, transcript="…", usage=usage)


def usage(
    text: tuple[int, int] = (0, 0),
    audio: tuple[int, int] = (0, 0),
    image: tuple[int, int] = (0, 0),
    written: tuple[int, int] = (0, 0),
) -> dict[str, Any]:
    """As OpenAI tells it. The first three: read, and cached of it; `written`: text and audio."""
    sorts = {"text_tokens": text, "audio_tokens": audio, "image_tokens": image}
    read, cached = ({name: pair[side] for name, pair in sorts.items()} for side in (0, 1))
    return {
        "total_tokens": sum(read.values()) + sum(written),
        "input_tokens": sum(read.values()),
        "output_tokens": sum(written),
        "input_token_details": {**read, "cached_tokens": sum(cached.values()), "cached_tokens_details": cached},
        "output_token_details": {"text_tokens": written[0], "audio_tokens": written[1]},
    }
