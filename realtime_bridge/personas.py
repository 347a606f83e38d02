"""Personas: who the model is to be. Read from a JSON file at start, checked then, never changed afterwards.

    {
      "default": "receptionist",
      "personas": {
        "receptionist": {
          "instructions": "You answer the telephone of a small hotel. …",
          "voice": "marin",
          "greeting": "Say good day and ask how you can help.",
          "turn_detection": {"type": "server_vad", "silence_duration_ms": 700},
          "tools": [
            {
              "name": "free_rooms",
              "description": "Which rooms are free in a night, and what they cost.",
              "parameters": {"type": "object", "properties": {"date": {"type": "string"}}, "required": ["date"]}
            }
          ]
        }
      }
    }

`greeting` is what the model is asked to say when a client picks the persona (null or left out: a short greeting of its
own; empty: nothing). `turn_detection` is
`server_vad` or `semantic_vad` with their settings, null for push-to-talk; left out, it is `server_vad` with its defaults.
`tools` are functions that the model may call; each goes to its own `url` or, without one, to `PARLEY_TOOLS_URL`
(docs/tools.md). `tool_choice` is `auto`, `none`, `required`, or the name of the one to call.

Where a loudspeaker is heard by an open microphone, an answer may interrupt itself. What helps, from the mildest on:
`noise_reduction` (`near_field` or `far_field`); a higher `threshold` of `server_vad`, or `semantic_vad` with an `eagerness`
of `low`; `deaf_ms`: for so many milliseconds from the beginning of each answer the microphone counts as silent, as echo
cancellers need a moment to adapt; `"deaf_ms": null`: for the whole answer, which then cannot be interrupted by voice;
`"turn_detection": null`: the client says itself where a turn ends.

`locked` says whether clients of the Realtime protocol may change what is the deployment's (`realtime_bridge.policy`); left
out, PARLEY_LOCK_INSTRUCTIONS does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from realtime_bridge.client_events import JsonObject, ServerVad, TurnDetection
from runtime.errors import SettingsError

VARIABLE = "PARLEY_PERSONAS"
"""The environment variable that names the file; every sentence begins with it."""

NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]


ToolName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""What the API takes as the name of a function."""


def is_web_address(text: str) -> bool:
    """Whether something can be posted there."""
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


class Tool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A function that the model may call."""

    name: ToolName
    description: NonEmpty
    """by which the model decides when to call it"""
    parameters: JsonObject = msgspec.field(default_factory=lambda: {"type": "object", "properties": {}})
    """JSON schema of its arguments"""
    url: str | None = None
    """where its calls go; None: to PARLEY_TOOLS_URL. The model is not told of it"""

    @property
    def declared(self) -> JsonObject:
        """As the model is told of it."""
        return {
            "type": "function",
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
        }


class Persona(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    instructions: NonEmpty
    voice: NonEmpty
    """any name: which voices there are is for the server to say"""
    greeting: str | None = None
    """what to say when a client picks it; None: a short greeting of its own; empty: nothing"""
    turn_detection: TurnDetection | None = ServerVad()
    """None: push-to-talk"""
    noise_reduction: Literal["near_field", "far_field"] | None = None
    """of a microphone at the mouth, or of one across a room"""
    deaf_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] | None = 0
    """of the beginning of each answer, during which the microphone counts as silent; None: of the whole answer"""
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    """`auto`, `none`, `required`, or the name of one of the tools"""
    locked: bool | None = None
    """clients of the Realtime protocol may change neither instructions nor tools nor voice; None: as the deployment says"""

    @property
    def declared_tool_choice(self) -> str | JsonObject:
        """As the model is told of it."""
        if self.tool_choice in _CHOICES:
            return self.tool_choice
        return {"type": "function", "name": self.tool_choice}

    def tool(self, name: str) -> Tool | None:
        return next((tool for tool in self.tools if tool.name == name), None)


_CHOICES = ("auto", "none", "required")


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    default: str
    personas: dict[NonEmpty, msgspec.Raw]


BUILT_IN = Persona(
    instructions=(
        "You are a friendly voice assistant. Speak in the language you are spoken to. Be brief: a sentence or two, then"
        " let the other one speak. Say so when you do not know something."
    ),
    voice="marin",
)
"""Who the model is when nobody has said so."""


@dataclass(frozen=True)
class Personas:
    by_id: Mapping[str, Persona]
    default_id: str

    @property
    def default(self) -> Persona:
        return self.by_id[self.default_id]

    def get(self, persona_id: str) -> Persona | None:
        return self.by_id.get(persona_id)

    def functions(self, persona_id: str | None) -> frozenset[str]:
        """Names of all that this one offers, or the default, where nobody, or nobody known, was chosen."""
        persona = self.by_id.get(persona_id or "", self.default)
        return frozenset(tool.name for tool in persona.tools)

    def without_address(self) -> str | None:
        """The first tool whose calls have nowhere to go but PARLEY_TOOLS_URL, as a sentence names it."""
        for persona_id, persona in self.by_id.items():
            for tool in persona.tools:
                if tool.url is None:
                    return f'tool "{tool.name}" of persona "{persona_id}"'
        return None

    def locked_unless_said(self, locked: bool) -> Personas:
        """The same; those that do not say whether they are locked are, or are not."""
        personas = self.by_id.items()
        decided = {name: replace(each, locked=locked) if each.locked is None else each for name, each in personas}
        return Personas(MappingProxyType(decided), self.default_id)

    @classmethod
    def load(cls, path: Path | None) -> Self:
        """The personas in a file, or the built-in one. Raises SettingsError, with a sentence that says what to mend."""
        if path is None:
            return cls(MappingProxyType({"default": BUILT_IN}), "default")
        try:
            return cls.parse(path.read_text("utf-8-sig"))
        except OSError as error:
            raise SettingsError(f"{VARIABLE}: {path} cannot be read: {error.strerror}.") from error
        except UnicodeError as error:
            raise SettingsError(f"{VARIABLE}: {path} is not UTF-8 text.") from error
        except PersonasError as error:
            raise SettingsError(f"{VARIABLE}: {path}: {error}") from error

    @classmethod
    def parse(cls, text: str) -> Self:
        """The personas in the text of a file. Raises PersonasError."""
        try:
            file = msgspec.json.decode(text, type=_File)
        except msgspec.ValidationError as error:
            raise PersonasError(f"{error}.") from error
        except msgspec.DecodeError as error:
            raise PersonasError(f"it is not JSON{_where(text)}.") from error
        personas = {persona_id: _persona(persona_id, raw) for persona_id, raw in file.personas.items()}
        if file.default not in personas:
            known = ", ".join(personas) or "none"
            raise PersonasError(f'"default" is "{file.default}", but the personas are: {known}.')
        return cls(MappingProxyType(personas), file.default)


class PersonasError(ValueError):
    """The text of a personas file does not hold; the message says where."""


def _persona(persona_id: str, raw: msgspec.Raw) -> Persona:
    try:
        persona = msgspec.json.decode(raw, type=Persona)
    except msgspec.ValidationError as error:
        raise PersonasError(f'persona "{persona_id}": {error}.') from error
    _check_tools(f'persona "{persona_id}"', persona)
    return persona


def _check_tools(who: str, persona: Persona) -> None:
    names = [tool.name for tool in persona.tools]
    for tool in persona.tools:
        which = f'{who}: tool "{tool.name}"'
        if names.count(tool.name) > 1:
            raise PersonasError(f"{which} is there twice; each needs a name of its own.")
        properties: Any = tool.parameters.get("properties", {})
        if tool.parameters.get("type") != "object" or not isinstance(properties, dict):
            shape = '{"type": "object", "properties": {…}}'
            raise PersonasError(f'{which}: its "parameters" must be a JSON schema of an object, as {shape}.')
        if tool.url is not None and not is_web_address(tool.url):
            raise PersonasError(f'{which}: its "url" must look like https://backend.example.com/tools.')
    if persona.tool_choice not in (*_CHOICES, *names):
        known = ", ".join((*_CHOICES, *names))
        raise PersonasError(f'{who}: "tool_choice" is "{persona.tool_choice}", but it may be: {known}.')
    if persona.tool_choice == "required" and not names:
        raise PersonasError(f'{who}: "tool_choice" is "required", but there are no tools.')


def _where(text: str) -> str:
    """Which line is not JSON. msgspec counts bytes, the standard library counts lines, as editors do."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f": line {error.lineno}, column {error.colno}: {error.msg[:1].lower()}{error.msg[1:]}"
    return ""
