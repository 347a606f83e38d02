"""PURE. What a client that speaks the model's protocol may not decide, and may not see.

Locked are a session's instructions, prompt, tools, tool choice and voice: the deployment's hold, whatever the client asks
for, in its session, in one response, or as a system message. The rest of what it asks for is done. It is told: each
`session.updated` has `"parley": {"locked": […]}`, and does not say what the locked values are; what was left out of a
response is told by an `error`, `locked_parameter`.

Locked or not: no key, and nothing that names the deployment's account, goes down.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from realtime_bridge.client_events import JsonObject

LOCKED = ("instructions", "prompt", "tools", "tool_choice", "audio.output.voice")
"""Of a session, and of a response."""

CODE = "locked_parameter"

_HIDDEN = ("instructions", "prompt", "tools", "tool_choice")
"""Of what is locked, what the client is not told either; the voice it hears."""

_TOOL_SECRETS = ("authorization", "headers")
"""Of a tool that the model's server calls by itself (MCP)."""

_SECRETS = re.compile(r"\b(?:sk|ek|rk)[-_][\w*.-]{4,}|\b(?:org-|proj_)\w{4,}")


@dataclass(frozen=True, slots=True)
class Policy:
    """Of one session."""

    locked: bool = False

    def session(self, change: JsonObject) -> JsonObject:
        """What is left of a change of the session. The model is the deployment's, whatever the client takes it for."""
        change = {name: value for name, value in change.items() if name != "model"}
        return _without(change)[0] if self.locked else change

    def response(self, response: JsonObject) -> tuple[JsonObject, list[str]]:
        """What is left of the settings of one response, and the paths of what is not."""
        if not self.locked:
            return response, []
        response, left_out = _without(response)
        given = response.get("input")
        if isinstance(given, list) and any(not self.allows(item) for item in given):
            response = {**response, "input": [item for item in given if self.allows(item)]}
            left_out.append("input")
        return response, left_out

    def allows(self, item: object) -> bool:
        """Whether the client may put this into the conversation."""
        return not (self.locked and isinstance(item, dict) and item.get("role") in ("system", "developer"))

    def shown(self, session: JsonObject) -> JsonObject:
        """A session as its client is told of it."""
        if self.locked:
            session = {name: value for name, value in session.items() if name not in _HIDDEN}
            session["parley"] = {"locked": list(LOCKED)}
        elif isinstance(tools := session.get("tools"), list):
            session = {**session, "tools": [_tool_shown(tool) for tool in tools]}
        return session


def without_secrets(text: str) -> str:
    """What a server says of its caller, without the caller's keys and names; JSON stays JSON."""
    return _SECRETS.sub("(hidden)", text)


def _without(settings: JsonObject) -> tuple[JsonObject, list[str]]:
    """Without what is locked, and the paths of it."""
    left_out = [name for name in LOCKED if name in settings]
    settings = {name: value for name, value in settings.items() if name not in LOCKED}
    audio = settings.get("audio")
    output = audio.get("output") if isinstance(audio, dict) else None
    if isinstance(audio, dict) and isinstance(output, dict) and "voice" in output:
        left_out.append("audio.output.voice")
        settings["audio"] = {**audio, "output": {name: value for name, value in output.items() if name != "voice"}}
    return settings, left_out


def _tool_shown(tool: Any) -> Any:
    if not isinstance(tool, dict):
        return tool
    return {name: value for name, value in tool.items() if name not in _TOOL_SECRETS}
