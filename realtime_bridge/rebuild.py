"""PURE. What a conversation was, read from `turns` and `down`: all that a bridge needs that takes it over.

What the model has answered is told to the new upstream session as text. What it has not is still in `pcm`, behind the
position of the last answer, and is simply said again from there. What it had begun to answer when its bridge died is void,
as far as the client is not known to have it: it is answered anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from realtime_bridge import client_events as say
from realtime_bridge import server_events as hear
from realtime_bridge.spoken import SAMPLES_PER_MS, START, Position
from streams import down, turns
from streams.consumer import Entry
from streams.ids import ZERO, EntryId

MAX_ITEMS = 200
"""The newest so many things that were said. A context full of older ones would be cut by the model all the same."""


@dataclass
class Rebuilt:
    """Where to go on."""

    opened: turns.Opened
    persona: str | None = None
    items: list[say.JsonObject] = field(default_factory=list)
    """what was said, in order, as items to be created"""
    position: Position = START
    """up to here everything is answered"""
    answered: set[str] = field(default_factory=set)
    """responses that are done"""
    session: say.JsonObject = field(default_factory=dict)
    """what a client that speaks the model's protocol has changed in its session"""
    changed_by: EntryId = ZERO
    """the entry with the latest change"""
    used: list[turns.Used] = field(default_factory=list)
    """what it has cost so far"""
    untold: list[str] = field(default_factory=list)
    """responses that began, and of which nobody will say what they have cost"""
    started_ms: int = 0
    """when the first bridge took it (Unix time)"""


def rebuild(entries: Iterable[Entry[turns.TurnsMessage]]) -> Rebuilt | None:
    """From all of `turns`; None when it does not begin with how the session was asked for."""
    entries = list(entries)
    log = [entry.message for entry in entries]
    if not log or not isinstance(opened := log[0], turns.Opened):
        return None
    rebuilt = Rebuilt(opened, opened.persona)
    rebuilt.used = [message for message in log if isinstance(message, turns.Used)]
    rebuilt.started_ms = next((entry.id.left for entry in entries if isinstance(entry.message, turns.EpochTaken)), 0)
    users: dict[str, str] = {}
    assistants: dict[str, turns.AssistantSaid] = {}
    committed: dict[str, Position] = {}
    removed: set[str] = set()
    order: list[str] = []
    for message in log:
        match message:
            case turns.Answered(response=response, pcm_id=pcm_id, offset=offset):
                rebuilt.position = max(rebuilt.position, Position(EntryId.parse(pcm_id), offset))
                rebuilt.answered.add(response)
            case turns.PersonaChosen(persona=persona, fresh=fresh):
                rebuilt.persona = persona
                if fresh:
                    order.clear()
            case turns.SessionChanged(session=session, pcm_id=pcm_id):
                rebuilt.session, rebuilt.changed_by = msgspec.json.decode(session), EntryId.parse(pcm_id)
            case turns.Committed(item=item, pcm_id=pcm_id, offset=offset):
                committed[item] = Position(EntryId.parse(pcm_id), offset)
                order.append(item)
            case turns.Removed(item=item):
                removed.add(item)
            case turns.UserSaid(item=item, text=text):
                users[item] = text
            case turns.AssistantSaid(item=item) as said:
                if item not in assistants:
                    order.append(item)
                assistants[item] = _later(assistants.get(item), said)
            case _:
                pass
    rebuilt.items = [
        say.user_text(line.content) if line.role == "user" else say.assistant_text(line.content) for line in opened.history
    ]
    for item in order[-MAX_ITEMS:]:
        if item in assistants:
            if text := assistants[item].text:
                rebuilt.items.append(say.assistant_text(text))
        elif item in users and item not in removed and committed[item] <= rebuilt.position:
            rebuilt.items.append(say.user_text(users[item]))
    return rebuilt


def _later(known: turns.AssistantSaid | None, said: turns.AssistantSaid) -> turns.AssistantSaid:
    """An item is told of again when it was interrupted after it was generated; then without its text."""
    if known is None or said.text:
        return said
    return turns.AssistantSaid(response=said.response, item=said.item, text=known.text, heard_ms=said.heard_ms)


def untold(entries: Iterable[Entry[down.DownMessage]], used: Iterable[turns.Used]) -> list[str]:
    """Responses that the client was told of, as far as `down` still knows, and that are in no `used` entry."""
    begun: dict[str, None] = {}
    for entry in entries:
        match entry.message:
            case down.Audio(response=response):
                begun[response] = None
            case down.ServerEvent(type="response.created", body=body):
                event = hear.parse(bytes(body))
                begun[event.response.id if isinstance(event, hear.ResponseCreated) else ""] = None
            case _:
                pass
    counted = {each.id for each in used if each.of == "response"}
    return [response for response in begun if response and response not in counted]


def broken_answers(
    entries: Sequence[Entry[down.DownMessage]], answered: set[str], arrived: EntryId
) -> list[down.Interrupted]:
    """What makes the rest of each answer void that was begun and is not done: heard is what has arrived."""
    heard: dict[tuple[str, int], int] = {}
    for entry in entries:
        match entry.message:
            case down.Audio(response=response, item=item, part=part, start_ms=start_ms, audio=audio):
                if response not in answered:
                    end_ms = start_ms + len(audio) // 2 // SAMPLES_PER_MS
                    heard[item, part] = max(heard.get((item, part), 0), end_ms if entry.id <= arrived else 0)
            case down.Interrupted(item=item, part=part):
                heard.pop((item, part), None)
            case _:
                pass
    return [down.Interrupted(item=item, part=part, at_ms=at_ms) for (item, part), at_ms in heard.items()]
