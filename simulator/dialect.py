"""PURE. The older dialect (beta), at the edge of a simulator that is GA inside: other names, and a flat session.

As such servers do, it refuses what only the newer dialect knows (`session.audio`, `output_text` in an item).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from simulator.errors import InvalidValue, UnknownParameter
from simulator.wire import Json, Object, member

Dialect: TypeAlias = Literal["ga", "beta", "azure", "azure-preview"]

IS_BETA = ("beta", "azure-preview")
IS_AZURE = ("azure", "azure-preview")

NAMES = {
    "conversation.item.added": "conversation.item.created",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
}
_NOT_KNOWN = ("conversation.item.done",)
_SPARSE = ("rate_limits.updated", "conversation.item.done", "conversation.item.truncated", "response.content_part.done")
"""What servers of other makers leave out."""

_FLAT = {
    "input_audio_format": ("input", "format"),
    "input_audio_transcription": ("input", "transcription"),
    "input_audio_noise_reduction": ("input", "noise_reduction"),
    "turn_detection": ("input", "turn_detection"),
    "output_audio_format": ("output", "format"),
    "voice": ("output", "voice"),
    "speed": ("output", "speed"),
}
_FORMATS: dict[str, Object] = {
    "pcm16": {"type": "audio/pcm", "rate": 24_000},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
_NEW_ONLY = ("type", "audio", "output_modalities", "max_output_tokens", "truncation")


def from_client(event: Object) -> Object:
    """A client's event of the older dialect, in GA. Raises Refused for what only GA knows."""
    match event:
        case {"type": "session.update", "session": dict(session)}:
            return {**event, "session": {"type": "realtime", **_nested(session, "session")}}
        case {"type": "response.create", "response": dict(response)}:
            return {**event, "response": _nested(response, "response")}
        case {"type": "conversation.item.create", "item": dict(item)} if item.get("role") == "assistant":
            content = item.get("content")
            parts = [_to_ga(part) for part in content] if isinstance(content, list) else content
            return {**event, "item": {**item, "content": parts}}
    return event


def _to_ga(part: Json) -> Json:
    if not isinstance(part, dict):
        return part
    if part.get("type") != "text":
        raise InvalidValue(f"Invalid value: '{part.get('type')}'. Value must be 'text'.", "item.content[0].type")
    return {**part, "type": "output_text"}


def _nested(settings: Object, path: str) -> Object:
    for key in _NEW_ONLY:
        if key in settings:
            raise UnknownParameter(f"{path}.{key}")
    result: Object = {}
    audio: dict[str, Object] = {}
    for key, value in settings.items():
        if key in _FLAT:
            side, name = _FLAT[key]
            audio.setdefault(side, {})[name] = _FORMATS[str(value)] if name == "format" else value
        elif key == "modalities" and isinstance(value, list):
            result["output_modalities"] = ["audio"] if "audio" in value else ["text"]
        elif key == "max_response_output_tokens":
            result["max_output_tokens"] = value
        elif key != "temperature":
            result[key] = value
    return {**result, "audio": {**audio}} if audio else result


def to_client(event: Object, dialect: Dialect, *, sparse: bool = False) -> Object | None:
    """An event as this client hears it; None for one that it does not hear."""
    kind = str(event["type"])
    if sparse and kind in _SPARSE:
        return None
    if sparse and "session" in event:
        event = {**event, "session": {k: v for k, v in member(event, "session").items() if k != "expires_at"}}
    if dialect not in IS_BETA:
        return event
    if kind in _NOT_KNOWN:
        return None
    told: Object = {**event, "type": NAMES.get(kind, kind)}
    if isinstance(session := told.get("session"), dict):
        told["session"] = _flat(session)
    if isinstance(item := told.get("item"), dict):
        told["item"] = _old_item(item)
    if isinstance(response := told.get("response"), dict) and isinstance(output := response.get("output"), list):
        kept = {key: value for key, value in response.items() if key not in ("output_modalities", "audio")}
        told["response"] = {**kept, "output": [_old_item(item) if isinstance(item, dict) else item for item in output]}
    return told


def _flat(session: Object) -> Object:
    audio = member(session, "audio")
    flat: Object = {key: value for key, value in session.items() if key not in _NEW_ONLY}
    for key, (side, name) in _FLAT.items():
        value = member(audio, side).get(name)
        flat[key] = next(old for old, new in _FORMATS.items() if new == value) if name == "format" else value
    modalities = session.get("output_modalities")
    flat["modalities"] = ["text", "audio"] if modalities == ["audio"] else ["text"]
    flat["max_response_output_tokens"] = session.get("max_output_tokens")
    return flat


def _old_item(item: Object) -> Object:
    content = item.get("content")
    if item.get("role") != "assistant" or not isinstance(content, list):
        return item
    names = {"output_text": "text", "output_audio": "audio"}
    parts = [{**part, "type": names.get(str(part["type"]), part["type"])} for part in content if isinstance(part, dict)]
    return {**item, "content": [*parts]}
