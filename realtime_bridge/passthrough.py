"""PURE. A client that speaks the model's own protocol: what it asks for goes upstream, what it is answered comes back.

Such a client drives: it updates the session, creates items and responses, cancels, commits and truncates. So the bridge
does none of this by itself; it only remembers what a later upstream socket has to know: the client's session, its items, and
up to where it was answered.

Every event goes up under a name, so that an `error` is known to be about it. One that has none is given ours, which is
taken out of what comes back.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import msgspec

from realtime_bridge.client_events import JsonObject
from realtime_bridge.effects import Effect, Forward, Record, Say
from realtime_bridge.policy import CODE, Policy, without_secrets
from realtime_bridge.server_events import ErrorDetail, Session
from realtime_bridge.spoken import Position
from streams import down, turns
from streams.ids import ZERO, EntryId
from streams.messages import VOID, ClientEvent

DOOR = "openai"
"""`Opened.door` of these clients."""

OF_ONE_SOCKET = frozenset({"response.cancel", "conversation.item.truncate"})
"""Events about an answer of one socket: the next one knows nothing of it, and would say so."""

_OURS = "parley_"
_MAX_UNBEGUN = 64
"""Responses that were asked for and have neither begun nor been refused."""

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_object = msgspec.json.Decoder(dict[str, Any])
_encode = msgspec.json.encode


class Change(NamedTuple):
    """What a `session.update` of the client's asks for."""

    entry: EntryId
    session: JsonObject


class Relayed(NamedTuple):
    """A client's event on its way up."""

    event_id: str
    effects: list[Effect]
    change: Change | None = None
    """it is a `session.update`"""
    asks: bool = False
    """for an answer that is part of the conversation"""


class Asked(NamedTuple):
    """A response that the client has asked for."""

    event_id: str
    about: Position
    """up to where it answers"""
    aside: bool
    """out of band: it leaves no trace in the conversation"""


class Passthrough:
    """What one session's client has asked for. Outlives the upstream sockets."""

    def __init__(self) -> None:
        self.offered: list[JsonObject] = []
        """functions that the persona offers; they stay, whatever others the client declares"""
        self.session_overrides: JsonObject = {}
        """all that the client has changed in its session, merged; a fresh upstream session is opened with it"""
        self._changed_by = ZERO
        """the last entry whose change is in there"""
        self._unbegun: deque[Asked] = deque(maxlen=_MAX_UNBEGUN)
        self._items: dict[str, str] = {}
        """items whose creation is not answered yet, by the name of the event"""

    def restore(self, session: JsonObject, changed_by: EntryId) -> None:
        """Go on where another bridge has left off."""
        self.session_overrides, self._changed_by = session, changed_by

    @property
    def is_idle(self) -> bool:
        """Nothing was asked that is not answered."""
        return not self._unbegun and not self._items

    def dialled(self) -> None:
        """A fresh upstream socket: it answers nothing that was asked on the one before."""
        self._unbegun.clear()
        self._items.clear()

    # ── from the client ─────────────────────────────────────────────────────────────────────────────────────────────

    def relay(self, entry: EntryId, event: ClientEvent, policy: Policy) -> Relayed | None:
        """What becomes of it; None for a change that has been made already (an earlier bridge was told of it, too), and for
        what says nothing."""
        if event.type == VOID:
            return None
        fields = _fields.decode(event.body)
        event_id = named(_text(fields.get("event_id")), entry)
        fields["event_id"] = msgspec.Raw(_encode(event_id))
        known: list[Effect] = []
        change: Change | None = None
        asks = False
        match event.type:
            case "session.update":
                if entry <= self._changed_by:
                    return None
                change = Change(entry, _session(fields, policy))
                self._offer_too(fields, change.session)
            case "response.create":
                known = _left_out(entry, event_id, _response(fields, policy))
                options = _json(fields.get("response"))
                aside = isinstance(options, dict) and options.get("conversation") == "none"
                self._unbegun.append(Asked(event_id, Position(entry, 0), aside))
                asks = not aside
            case "conversation.item.create" if not policy.allows(_json(fields.get("item"))):
                return Relayed(event_id, _refused(entry, event_id, "item.role", "The item was not added."))
            case "conversation.item.create":
                known = self._remember_item(entry, event_id, fields)
        return Relayed(event_id, [Forward(_encode(fields).decode()), *known], change, asks)

    def _remember_item(self, entry: EntryId, event_id: str, fields: dict[str, msgspec.Raw]) -> list[Effect]:
        """What the client says in words is told to a later socket, under the name that the item has now."""
        item = _json(fields.get("item"))
        if not isinstance(item, dict):
            return []
        if (tool := _tool_item(item, entry)) is not None:
            return [Record(tool)]
        if not (text := _written(item)):
            return []
        if not isinstance(item.get("id"), str):
            item["id"] = f"item_{entry.left}_{entry.right}"[:32]
            fields["item"] = msgspec.Raw(_encode(item))
        name = item["id"]
        self._items[event_id] = name
        if item["role"] == "assistant":
            return [Record(turns.AssistantSaid(response="", item=name, text=text))]
        committed = turns.Committed(item=name, pcm_id=str(entry), offset=0)
        return [Record(committed), Record(turns.UserSaid(item=name, text=text))]

    def _offer_too(self, fields: dict[str, msgspec.Raw], session: JsonObject) -> None:
        going = self.with_offered(session)
        if going is not session:
            fields["session"] = msgspec.Raw(_encode(going))

    def session(self, ours: JsonObject, policy: Policy) -> JsonObject:
        """The session that the bridge asks for, with all that the client has changed of it."""
        self.offered = ours["tools"]
        return self.with_offered(merged(ours, policy.session(self.session_overrides)))

    def with_offered(self, session: JsonObject) -> JsonObject:
        """The session with the persona's functions in front of the client's own. Of two with one name ours is meant."""
        declared = session.get("tools")
        if not self.offered or not isinstance(declared, list):
            return session
        names = {tool["name"] for tool in self.offered}
        return {**session, "tools": [*self.offered, *(tool for tool in declared if _name(tool) not in names)]}

    # ── from the model ──────────────────────────────────────────────────────────────────────────────────────────────

    def changed(self, change: Change) -> list[Effect]:
        """The model has made it."""
        self.session_overrides = merged(self.session_overrides, change.session)
        self._changed_by = change.entry
        session = msgspec.Raw(_encode(self.session_overrides))
        return [Record(turns.SessionChanged(session=session, pcm_id=str(change.entry)))]

    @property
    def is_asking(self) -> bool:
        """Whether a response that the client has asked for has yet to begin."""
        return bool(self._unbegun)

    def begun(self) -> Asked | None:
        """A response begins: which one that the client has asked for; None when the model begins it by itself."""
        return self._unbegun.popleft() if self._unbegun else None

    def added(self, item: str) -> None:
        """The model has this item now."""
        for event_id in [each for each, name in self._items.items() if name == item]:
            del self._items[event_id]

    def refused(self, error: ErrorDetail) -> list[Effect]:
        """The model did not do what this `error` names."""
        for unbegun in [each for each in self._unbegun if each.event_id == error.event_id]:
            self._unbegun.remove(unbegun)
        item = self._items.pop(error.event_id or "", None)
        return [] if item is None else [Record(turns.Removed(item=item))]

    def error_for_client(self, error: ErrorDetail, raw: str) -> bytes:
        """The `error` as the client is told of it: without a name that is ours."""
        raw = without_secrets(raw)
        if error.event_id is None or not error.event_id.startswith(_OURS):
            return raw.encode()
        event = _object.decode(raw)
        event["error"]["event_id"] = None
        return _encode(event)


def finds_turns(session: Session, *, default: bool) -> bool:
    """Whether the model finds the turns, in a session as it is told; `default` when it does not say."""
    if session.audio is None or session.audio.input is None:
        return default
    return session.audio.input.turn_detection is not None


def answers_turns(session: Session) -> bool:
    """Whether the model answers by itself when it finds the end of a turn, in a session as it is told."""
    detection = None
    if session.audio is not None and session.audio.input is not None:
        detection = session.audio.input.turn_detection
    return detection is None or detection.create_response is not False


def named(event_id: str | None, entry: EntryId) -> str:
    """What an event goes up as: its own name, or ours."""
    return event_id or f"{_OURS}{entry.left}_{entry.right}"


_MERGED = (("audio",), ("audio", "input"), ("audio", "output"), ("audio", "input", "transcription"))
"""Objects in which an update keeps what it leaves out. All others are replaced whole, but turn detection of one kind."""
_DETECTION = ("audio", "input", "turn_detection")


def merged(session: JsonObject, change: JsonObject, path: tuple[str, ...] = ()) -> JsonObject:
    """`session` with `change` made, as the model makes it."""
    result = dict(session)
    for key, value in change.items():
        here, current = (*path, key), result.get(key)
        keeps = here in _MERGED or (here == _DETECTION and _type(current) == _type(value))
        if keeps and isinstance(value, dict) and isinstance(current, dict):
            result[key] = merged(current, value, here)
        else:
            result[key] = value
    return result


def answered_call(event: ClientEvent) -> str | None:
    """The call whose output the client tells the model in this event."""
    if event.type != "conversation.item.create":
        return None
    item = _json(_fields.decode(event.body).get("item"))
    call_id = item.get("call_id") if isinstance(item, dict) and _type(item) == "function_call_output" else None
    return call_id if isinstance(call_id, str) else None


def _tool_item(item: JsonObject, entry: EntryId) -> turns.ToolCalled | turns.ToolAnswered | None:
    """A call that the client tells of, or what it has answered to one."""
    call_id, name, arguments, output = (item.get(key) for key in ("call_id", "name", "arguments", "output"))
    if not isinstance(call_id, str):
        return None
    if _type(item) == "function_call_output" and isinstance(output, str):
        return turns.ToolAnswered(call_id, output, pcm_id=str(entry))
    if _type(item) == "function_call" and isinstance(name, str) and isinstance(arguments, str):
        known = item.get("id")
        item_id = known if isinstance(known, str) else ""
        return turns.ToolCalled("", item_id, call_id, name, arguments, by_client=True, pcm_id=str(entry))
    return None


def _name(value: object) -> object:
    return value.get("name") if isinstance(value, dict) else None


def _type(value: object) -> object:
    return value.get("type") if isinstance(value, dict) else None


def _session(fields: dict[str, msgspec.Raw], policy: Policy) -> JsonObject:
    """What is to be changed, as far as it is the client's to change."""
    session = _json(fields.get("session"))
    if not isinstance(session, dict):
        return {}
    if (allowed := policy.session(session)) != session:
        fields["session"] = msgspec.Raw(_encode(allowed))
    return allowed


def _response(fields: dict[str, msgspec.Raw], policy: Policy) -> list[str]:
    """What is not the client's to decide is taken out of the response that it asks for; the paths of it."""
    response = _json(fields.get("response"))
    if not isinstance(response, dict):
        return []
    response, left_out = policy.response(response)
    if left_out:
        fields["response"] = msgspec.Raw(_encode(response))
    return [f"response.{path}" for path in left_out]


def _left_out(entry: EntryId, event_id: str, paths: list[str]) -> list[Effect]:
    return _refused(entry, event_id, paths[0], f"The response goes on without {', '.join(paths)}.") if paths else []


def _refused(entry: EntryId, event_id: str, param: str, outcome: str) -> list[Effect]:
    """The client is told that this is not its to decide."""
    detail = {
        "type": "invalid_request_error",
        "code": CODE,
        "message": f"'{param}' is locked by this server. {outcome}",
        "param": param,
        "event_id": None if event_id.startswith(_OURS) else event_id,
    }
    body = _encode({"type": "error", "event_id": f"event_{entry.left}_{entry.right}_locked", "error": detail})
    return [Say(down.ServerEvent(type="error", body=msgspec.Raw(body)))]


def session_for_client(raw: str, policy: Policy) -> bytes:
    """The model's `session.updated`, without what is not the client's to know."""
    event = _object.decode(raw)
    if isinstance(session := event.get("session"), dict):
        event["session"] = policy.shown(session)
    return _encode(event)


def _json(raw: msgspec.Raw | None) -> object:
    value: object = None if raw is None else msgspec.json.decode(raw)
    return value


def _text(raw: msgspec.Raw | None) -> str | None:
    value = _json(raw)
    return value if isinstance(value, str) else None


def _written(item: JsonObject) -> str:
    """What a message of the user's or the assistant's says in words; nothing for all else."""
    wanted = {"user": "input_text", "assistant": "output_text"}.get(str(item.get("role")))
    content = item.get("content")
    if item.get("type") != "message" or not isinstance(content, list):
        return ""
    parts = [part["text"] for part in content if _type(part) == wanted and isinstance(part.get("text"), str)]
    return " ".join(parts)
