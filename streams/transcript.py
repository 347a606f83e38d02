"""PURE. A conversation as a document: of a live session what was said so far, of one that has ended what is kept of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from streams import turns


class Turn(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="role"):
    """What was said at one time."""

    item: str


class User(Turn, frozen=True, tag="user"):
    text: str | None = None
    """None: it was spoken, and nobody has written it down (yet)"""


class System(Turn, frozen=True, tag="system"):
    text: str


class Assistant(Turn, frozen=True, tag="assistant"):
    text: str
    """as heard: of an interrupted one no more than that"""
    response: str | None = None
    persona: str | None = None
    """who said it; None: the default one"""
    heard_ms: int | None = None
    """where it was interrupted"""
    interrupted: bool = False


class Line(msgspec.Struct, frozen=True):
    """Said before the session began, as the client told it."""

    role: str
    content: str


class Document(msgspec.Struct, frozen=True, omit_defaults=True):
    """A session. Times are in milliseconds since 1970."""

    id: str
    user: str
    conversation: str
    """how its door calls it"""
    door: str
    status: Literal["live", "ended"]
    opened_ms: int
    turns: tuple[User | System | Assistant, ...]
    """in the order in which they were said"""
    ended_ms: int | None = None
    reason: str | None = None
    """why it has ended"""
    persona: str | None = None
    """the last one that was chosen"""
    instructions: str | None = None
    """of the app's backend, where they are in force"""
    history: tuple[Line, ...] = ()


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Document).decode


class Ended(msgspec.Struct, frozen=True):
    """When and why."""

    at_ms: int
    reason: str


def transcript(
    sid: str, conversation: str, log: Iterable[turns.TurnsMessage], *, opened_ms: int, ended: Ended | None = None
) -> Document | None:
    """Of all that `turns` holds; None when it does not begin with how the session was asked for."""
    entries = iter(log)
    opened = next(entries, None)
    if not isinstance(opened, turns.Opened):
        return None
    told = _Told(opened.persona)
    for entry in entries:
        told.hear(entry)
    return Document(
        id=sid,
        user=opened.user,
        conversation=conversation,
        door=opened.door,
        status="live" if ended is None else "ended",
        opened_ms=opened_ms,
        turns=tuple(turn for turn in told.by_item.values() if turn is not None),
        ended_ms=None if ended is None else ended.at_ms,
        reason=None if ended is None else ended.reason,
        persona=told.persona,
        instructions=told.instructions,
        history=tuple(Line(line.role, line.content) for line in opened.history),
    )


class _Told:
    def __init__(self, persona: str | None) -> None:
        self.persona = persona
        self.instructions: str | None = None
        self.by_item: dict[str, User | System | Assistant | None] = {}
        """in order; None: taken back"""

    def hear(self, entry: turns.TurnsMessage) -> None:
        match entry:
            case turns.Committed(item=item):
                self.by_item.setdefault(item, User(item))
            case turns.UserSaid(item=item, text=text):
                if self.by_item.get(item, User(item)) is not None:
                    self.by_item[item] = User(item, text)
            case turns.SystemSaid(item=item, text=text):
                self.by_item[item] = System(item, text)
            case turns.Removed(item=item):
                self.by_item[item] = None
            case turns.AssistantSaid() as said:
                self._hear_assistant(said)
            case turns.PersonaChosen(persona=persona):
                self.persona, self.instructions = persona, None
            case turns.InstructionsGiven(instructions=instructions):
                self.instructions = instructions
            case _:
                pass

    def _hear_assistant(self, said: turns.AssistantSaid) -> None:
        """An item is told of again when it is interrupted after it was generated; then without its text."""
        known = self.by_item.get(said.item)
        if known is None and said.item in self.by_item:
            return
        before = known if isinstance(known, Assistant) else None
        heard_ms = said.heard_ms if said.heard_ms is not None or before is None else before.heard_ms
        self.by_item[said.item] = Assistant(
            said.item,
            "" if heard_ms == 0 else said.text or (before.text if before else ""),
            response=said.response or (before.response if before else None),
            persona=before.persona if before else self.persona,
            heard_ms=heard_ms,
            interrupted=heard_ms is not None,
        )
