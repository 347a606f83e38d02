"""PURE. A session of the openai door, as its client is told of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

Object = dict[str, Any]

_MERGED = (("audio",), ("audio", "input"), ("audio", "output"), ("audio", "input", "transcription"))
"""Objects of which what is left out stays as it is."""


def session_id(sid: str) -> str:
    return f"sess_{sid}"


def session_told(sid: str, *, model: str, transcription_model: str | None, begins: Object | None = None) -> Object:
    """What a session is at its beginning, as far as it is known before there is a model behind it.

    `begins`: what its client secret says of it.
    """
    pcm = {"type": "audio/pcm", "rate": 24_000}
    detection = {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "create_response": True,
        "interrupt_response": True,
    }
    audio_input = {
        "format": pcm,
        "noise_reduction": None,
        "transcription": {"model": transcription_model} if transcription_model else None,
        "turn_detection": detection,
    }
    session: Object = {
        "type": "realtime",
        "object": "realtime.session",
        "output_modalities": ["audio"],
        "audio": {"input": audio_input, "output": {"format": pcm}},
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "truncation": "auto",
    }
    if begins is not None:
        session = merged(session, begins)
    return {**session, "id": session_id(sid), "model": model}


def merged(session: Object, change: Object, path: tuple[str, ...] = ()) -> Object:
    """With the change made."""
    result = dict(session)
    for name, value in change.items():
        here, current = (*path, name), result.get(name)
        if here in _MERGED and isinstance(value, dict) and isinstance(current, dict):
            result[name] = merged(current, value, here)
        else:
            result[name] = value
    return result


def session_updated(body: bytes, sid: str, shown: Callable[[Object], Object] = lambda session: session) -> bytes:
    """The model's `session.updated`, about our session: it is not the model's that ends at `expires_at`."""
    event = msgspec.json.decode(body)
    if isinstance(session := event.get("session"), dict):
        session["id"] = session_id(sid)
        session.pop("expires_at", None)
        event["session"] = shown(session)
    return msgspec.json.encode(event)


def response_told(body: bytes, format_: Object) -> bytes:
    """`response.created` or `response.done`, of a client that hears it in another format than the model says it."""
    event = msgspec.json.decode(body)
    if isinstance(response := event.get("response"), dict):
        event["response"] = merged(response, {"audio": {"output": {"format": format_}}})
    return msgspec.json.encode(event)


class _Truncated(msgspec.Struct):
    item_id: str
    content_index: int
    audio_end_ms: int


def truncated(body: msgspec.Raw) -> tuple[str, int, int]:
    """Of the event that says so: the item, its part, and how many milliseconds stay of it."""
    event = msgspec.json.decode(body, type=_Truncated)
    return event.item_id, event.content_index, event.audio_end_ms
