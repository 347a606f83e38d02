"""PURE. The dialects of the protocol: where a server is dialled, who we say we are, and how events are called there.

Everything in the bridge speaks the current dialect (GA). The older one (beta) is spoken by Azure's preview addresses and
by several servers of other makers: events and settings have other names, and the session is flat. Here both are translated,
event by event, so that nobody else has to know. A server that shows what it speaks (`spoken_by`: by the shape of its
`session.created`) needs no setting.

| address | dialect | key goes as |
|---|---|---|
| `https://api.openai.com/v1` | GA | `Authorization: Bearer` |
| `https://R.openai.azure.com[/openai/v1]` | GA | `api-key`; an Entra token as Bearer |
| `https://R.openai.azure.com/openai?api-version=…` (preview) | beta | the same |
| any other | as it says by its session | `Authorization: Bearer` |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

import msgspec

from realtime_bridge import client_events
from realtime_bridge.client_events import ClientEvent, JsonObject

DialectName: TypeAlias = Literal["auto", "ga", "beta"]

AZURE_HOSTS = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
AZURE_LONGEST_S = 1_800.0
"""Sessions end there after half an hour, and a preview address may not say so."""


# ---- where, and who -------------------------------------------------------------------------------------------------


def realtime_url(base_url: str, model: str) -> str:
    """Where to dial: `https://api.openai.com/v1` → `wss://api.openai.com/v1/realtime?model=…`. Keeps a query it finds."""
    scheme, host, path, query, _ = urlsplit(base_url)
    scheme = {"http": "ws", "https": "wss"}.get(scheme, scheme)
    path = path.rstrip("/")
    if is_azure(base_url) and path in ("", "/openai"):
        path = "/openai" if "api-version" in parse_qs(query) else "/openai/v1"
    named = "deployment" if is_azure_preview(base_url) else "model"
    named = f"{named}={quote(model, safe='')}"
    path = path if path.endswith("/realtime") else f"{path}/realtime"
    return urlunsplit((scheme, host, path, f"{query}&{named}" if query else named, ""))


def headers(url: str, key: str | None, dialect: DialectName = "auto") -> dict[str, str]:
    """Of the upgrade request. The key and nothing else, but for an older server that is not Azure's."""
    if is_azure(url):
        if key is None:
            return {}
        is_token = key.startswith("eyJ") and key.count(".") == 2  # of Entra, a JWT
        return {"Authorization": f"Bearer {key}"} if is_token else {"api-key": key}
    asked = {"Authorization": f"Bearer {key}"} if key else {}
    return {**asked, "OpenAI-Beta": "realtime=v1"} if dialect == "beta" else asked


def is_azure(url: str) -> bool:
    """Whether it is an address of Azure OpenAI."""
    return (urlsplit(url).hostname or "").endswith(AZURE_HOSTS)


def is_azure_preview(url: str) -> bool:
    """Whether it is one of the older kind, which names the version it speaks."""
    parts = urlsplit(url)
    return is_azure(url) and "api-version" in parse_qs(parts.query) and not parts.path.startswith("/openai/v1")


def longest_session_s(url: str) -> float | None:
    """How long a session may be where the server does not say when it expires; None: not known."""
    return AZURE_LONGEST_S if is_azure(url) else None


def spoken_by(created: str, asked: DialectName = "auto") -> Dialect:
    """What a server speaks that said this `session.created`; `asked`: what the operator says."""
    if asked != "auto":
        return BETA if asked == "beta" else GA
    session = _created.decode(created).session
    return BETA if "audio" not in session and _FLAT & session.keys() else GA


# ---- the current dialect --------------------------------------------------------------------------------------------


class Dialect:
    """The current one: all is as the rest of the bridge knows it."""

    name: DialectName = "ga"

    def encode(self, event: ClientEvent) -> str:
        """An event of ours as a frame."""
        return client_events.encode(event)

    def translate(self, frame: str) -> str:
        """A frame of a client that speaks GA, as one for this server."""
        return frame

    def heard(self, frame: str) -> str:
        """A frame of the server's, in GA. One that is no event stays as it is."""
        return frame


# ---- the older dialect ----------------------------------------------------------------------------------------------

_TO_GA: Mapping[str, str] = {
    "conversation.item.created": "conversation.item.added",
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
}
"""Names of server events. Client events have the same names in both."""

_PARTS_TO_GA = {"text": "output_text", "audio": "output_audio"}
"""Types of what an assistant's item holds. In `response.content_part.*` both dialects say `text` and `audio`."""
_PARTS_TO_BETA = {ga: beta for beta, ga in _PARTS_TO_GA.items()}

_FORMATS = {"audio/pcm": "pcm16", "audio/pcmu": "g711_ulaw", "audio/pcma": "g711_alaw"}
_FORMATS_TO_GA: Mapping[str, JsonObject] = {
    "pcm16": {"type": "audio/pcm", "rate": 24_000},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
_INPUT = {
    "format": "input_audio_format",
    "transcription": "input_audio_transcription",
    "noise_reduction": "input_audio_noise_reduction",
    "turn_detection": "turn_detection",
}
_OUTPUT = {"format": "output_audio_format", "voice": "voice", "speed": "speed"}
_RENAMED = {"max_output_tokens": "max_response_output_tokens"}
_UNKNOWN_TO_BETA = (
    "type",
    "audio",
    "output_modalities",
    "truncation",
    "reasoning",
    "parallel_tool_calls",
    "include",
    "prompt",
)
_FLAT = frozenset({"modalities", "input_audio_format", "output_audio_format", "max_response_output_tokens"})


class _Created(msgspec.Struct):
    session: dict[str, Any] = {}


_created = msgspec.json.Decoder(_Created)
_any = msgspec.json.Decoder(dict[str, Any])


def _encode(event: JsonObject) -> str:
    return msgspec.json.encode(event).decode()


class _Beta(Dialect):
    name = "beta"

    def encode(self, event: ClientEvent) -> str:
        return self.translate(client_events.encode(event))

    def translate(self, frame: str) -> str:
        """Only the three events that differ are taken apart."""
        event = _any.decode(frame)
        match event:
            case {"type": "session.update", "session": dict(session)}:
                return _encode({**event, "session": flat(session)})
            case {"type": "response.create", "response": dict(response)}:
                return _encode({**event, "response": flat(response)})
            case {"type": "conversation.item.create", "item": dict(item)}:
                return _encode({**event, "item": _item(item, _PARTS_TO_BETA)})
        return frame

    def heard(self, frame: str) -> str:
        for beta in ("response.audio.delta", "response.audio_transcript.delta"):  # nearly all that comes
            name = f'"type":"{beta}"'
            if name in frame[:200]:
                return frame.replace(name, f'"type":"{_TO_GA[beta]}"', 1)
        try:
            event = _any.decode(frame)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return frame
        kind = str(event.get("type"))
        event["type"] = _TO_GA.get(kind, kind)
        if isinstance(item := event.get("item"), dict):
            event["item"] = _item(item, _PARTS_TO_GA)
        if isinstance(session := event.get("session"), dict):
            event["session"] = nested(session)
        if isinstance(response := event.get("response"), dict):
            output = response.get("output")
            items = [_item(each, _PARTS_TO_GA) if isinstance(each, dict) else each for each in output or ()]
            event["response"] = {**response, "output": items}
        return _encode(event)


GA = Dialect()
BETA = _Beta()


def flat(settings: JsonObject) -> JsonObject:
    """Settings of a session or a response as the older dialect has them. What it does not know is left out."""
    audio = settings.get("audio") or {}
    found: JsonObject = {}
    for names, group in ((_INPUT, audio.get("input")), (_OUTPUT, audio.get("output"))):
        for ga, beta in names.items():
            if isinstance(group, dict) and ga in group:
                value = group[ga]
                found[beta] = _FORMATS.get(value["type"], value["type"]) if ga == "format" and value else value
    if modalities := settings.get("output_modalities"):
        found["modalities"] = ["text", "audio"] if "audio" in modalities else ["text"]
    kept = {_RENAMED.get(key, key): value for key, value in settings.items() if key not in _UNKNOWN_TO_BETA}
    if isinstance(items := kept.get("input"), list):
        kept["input"] = [_item(item, _PARTS_TO_BETA) if isinstance(item, dict) else item for item in items]
    return {**kept, **found}


def nested(session: JsonObject) -> JsonObject:
    """A session of the older dialect as it is in the current one."""
    old = {"modalities", *_INPUT.values(), *_OUTPUT.values(), *_RENAMED.values()}
    audio: JsonObject = {}
    for side, names in (("input", _INPUT), ("output", _OUTPUT)):
        found = {ga: session[beta] for ga, beta in names.items() if beta in session}
        if isinstance(name := found.get("format"), str):
            found["format"] = _FORMATS_TO_GA.get(name, name)
        if found:
            audio[side] = found
    result = {"type": "realtime", **{key: value for key, value in session.items() if key not in old}}
    for ga, beta in _RENAMED.items():
        if beta in session:
            result[ga] = session[beta]
    if modalities := session.get("modalities"):
        result["output_modalities"] = ["audio"] if "audio" in modalities else ["text"]
    return {**result, "audio": audio} if audio else result


def _item(item: JsonObject, parts: Mapping[str, str]) -> JsonObject:
    content = item.get("content")
    if item.get("role") != "assistant" or not isinstance(content, list):
        return item
    renamed = [{**part, "type": parts.get(str(part.get("type")), part.get("type"))} for part in content]
    return {**item, "content": renamed}
