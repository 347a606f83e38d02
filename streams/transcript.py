"""PURE. A conversation as a document: of a live session what was said so far, of one that has ended what is kept of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from streams import turns
from streams.usage import Usage, total


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


class Tool(Turn, frozen=True, tag="tool"):
    """The model has called a function."""

    call_id: str
    name: str
    arguments: str
    """as the model wrote them: JSON, mostly"""
    output: str | None = None
    """what the model was told; None: nothing yet"""
    error: str | None = None
    """a code, where the call failed and `output` says so"""
    by_client: bool = False
    """the client has run it, and not the deployment"""


class Timing(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one turn took: see `turns.Timed`."""

    item: str | None = None
    response: str | None = None
    answer: str | None = None
    said_ms: int | None = None
    committed_ms: int | None = None
    first_delta_ms: int | None = None
    first_byte_ms: int | None = None
    playback_ms: int | None = None


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
    turns: tuple[User | System | Assistant | Tool, ...]
    """in the order in which they were said"""
    ended_ms: int | None = None
    reason: str | None = None
    """why it has ended"""
    persona: str | None = None
    """the last one that was chosen"""
    instructions: str | None = None
    """of the app's backend, where they are in force"""
    history: tuple[Line, ...] = ()
    timings: tuple[Timing, ...] = ()
    """of the turns, in the order in which they were over"""
    usage: Usage | None = None
    """what the model's server has taken for it; None: it has told of nothing"""
    usd: str | None = None
    """what of that is priced comes to, to the last digit"""


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
    opened, *entries = tuple(log) or (None,)
    if not isinstance(opened, turns.Opened):
        return None
    told = _Told(opened.persona)
    for entry in entries:
        told.hear(entry)
    used = [entry for entry in entries if isinstance(entry, turns.Used)]
    usage = total(used) if used else None
    return Document(
        id=sid,
        user=opened.user,
        conversation=conversation,
        door=opened.door,
        status="live" if ended is None else "ended",
        opened_ms=opened_ms,
        turns=told.said,
        ended_ms=None if ended is None else ended.at_ms,
        reason=None if ended is None else ended.reason,
        persona=told.persona,
        instructions=told.instructions,
        history=tuple(Line(line.role, line.content) for line in opened.history),
        timings=tuple(_timing(entry) for entry in entries if isinstance(entry, turns.Timed)),
        usage=usage,
        usd=None if usage is None else usage.usd,
    )


def _timing(timed: turns.Timed) -> Timing:
    times = timed.said_ms, timed.committed_ms, timed.first_delta_ms, timed.first_byte_ms, timed.playback_ms
    return Timing(timed.item or None, timed.response or None, timed.answer or None, *times)


class _Told:
    def __init__(self, persona: str | None) -> None:
        self.persona = persona
        self.instructions: str | None = None
        self.by_item: dict[str, User | System | Assistant | Tool | None] = {}
        """in order; None: taken back"""
        self._outputs: dict[str, turns.ToolAnswered] = {}
        self._undecided: dict[str, str] = {}
        """calls of answers that are not done, by item: were their socket to break, the model would decide again"""

    @property
    def said(self) -> tuple[User | System | Assistant | Tool, ...]:
        return tuple(
            self._with_output(turn) if isinstance(turn, Tool) else turn
            for item, turn in self.by_item.items()
            if turn is not None and not (item in self._undecided and self._is_pending(turn))
        )

    def _is_pending(self, turn: User | System | Assistant | Tool) -> bool:
        return isinstance(turn, Tool) and turn.call_id not in self._outputs

    def _with_output(self, call: Tool) -> Tool:
        answer = self._outputs.get(call.call_id)
        return call if answer is None else msgspec.structs.replace(call, output=answer.output, error=answer.error)

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
            case turns.ToolCalled(item=item) as call:
                self.by_item[item] = Tool(item, call.call_id, call.name, call.arguments, by_client=call.by_client)
                if call.response:
                    self._undecided[item] = call.response
            case turns.ToolAnswered(call_id=call_id) as answer:
                self._outputs.setdefault(call_id, answer)
            case turns.Answered(response=response):
                self._undecided = {item: of for item, of in self._undecided.items() if of != response}
            case turns.PersonaChosen(persona=persona):
                self.persona, self.instructions = persona, None
            case turns.InstructionsGiven(instructions=instructions):
                self.instructions = instructions
            case _:
                pass

    def _hear_assistant(self, said: turns.AssistantSaid) -> None:
        """An item is told of again when it is interrupted after it was generated: then with what was heard of it."""
        known = self.by_item.get(said.item)
        if known is None and said.item in self.by_item:
            return
        before = known if isinstance(known, Assistant) else None
        heard_ms = said.heard_ms if said.heard_ms is not None or before is None else before.heard_ms
        self.by_item[said.item] = Assistant(
            said.item,
            said.text if said.heard_ms is not None or before is None else said.text or before.text,
            response=said.response or (before.response if before else None),
            persona=before.persona if before else self.persona,
            heard_ms=heard_ms,
            interrupted=heard_ms is not None,
        )
