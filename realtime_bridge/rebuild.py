"""PURE. What a conversation was, read from `turns`: all that a fresh upstream socket has to know, of whichever bridge.

What the model has answered is told to the new upstream session as text. What it has not is still in `pcm`, behind the
position of the last answer, and is simply said again from there. What it was in the middle of is in `broken.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from realtime_bridge import client_events as say
from realtime_bridge import server_events as hear
from realtime_bridge.recalled import Recalled
from realtime_bridge.spoken import START, Position
from realtime_bridge.tools import Owed
from streams import down, turns
from streams.consumer import Entry
from streams.ids import ZERO, EntryId

MAX_ITEMS = 200
"""The newest so many things that were said. A context full of older ones would be cut by the model all the same."""

MAX_NAME = 32
"""Letters that a server takes as the name of an item."""


class Unwritten(NamedTuple):
    """What the user said and nobody has written down (yet): it is told as the sound that it was, if `pcm` still has it."""

    item: str
    place: int
    """its index in `Rebuilt.items`, where a message without content stands for it"""
    start: Position
    end: Position


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
    begun: dict[str, Position] = field(default_factory=dict)
    """up to where each response answers"""
    covered: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """the calls whose outputs each response had before it"""
    goes_on: bool = False
    """the last answer broke off in the middle: the model is to say the rest of it"""
    unanswered: list[str] = field(default_factory=list)
    """the user's items that will be said again, as others"""
    unwritten: list[Unwritten] = field(default_factory=list)
    session: say.JsonObject = field(default_factory=dict)
    """what a client that speaks the model's protocol has changed in its session"""
    changed_by: EntryId = ZERO
    """the entry with the latest change"""
    owed: list[Owed] = field(default_factory=list)
    """function calls that the model has not answered to; in order"""
    theirs: list[turns.ToolCalled] = field(default_factory=list)
    """function calls that the client is to run, and has not answered; in order"""
    latest: str | None = None
    """the response that was answered last"""
    used: list[turns.Used] = field(default_factory=list)
    """what it has cost so far"""
    recalled: list[Recalled] = field(default_factory=list)
    """what may still be heard of what another bridge has said"""
    untold: list[str] = field(default_factory=list)
    """responses that began, and of which nobody will say what they have cost"""
    told_to: EntryId = ZERO
    """up to this entry of `pcm` the client knows what was wrong with what it said"""
    started_ms: int = 0
    """when the first bridge took it (Unix time)"""
    instructions: str | None = None
    """what the app's backend has said in place of the persona's"""

    def forget_sound(self, oldest: EntryId | None) -> None:
        """What nobody has written down is told as it was said, if not all of that lies before this entry of `pcm`: the rest
        is gone, or too long ago to be kept for that."""
        kept = {each.place: each for each in self.unwritten if oldest is not None and each.end.entry >= oldest}
        gone = {each.place for each in self.unwritten} - kept.keys()
        items, self.items, self.unwritten = self.items, [], []
        for place, item in enumerate(items):
            if place in kept:
                self.unwritten.append(kept[place]._replace(place=len(self.items)))
            if place not in gone:
                self.items.append(item)


def rebuild(entries: Iterable[Entry[turns.TurnsMessage]], upto: Position = START) -> Rebuilt | None:
    """From all of `turns`; None when it does not begin with how the session was asked for. `upto`: up to here nothing is
    said again, be it answered or not."""
    entries = list(entries)
    log = [entry.message for entry in entries]
    if not log or not isinstance(opened := log[0], turns.Opened):
        return None
    rebuilt = Rebuilt(opened, opened.persona)
    rebuilt.used = [message for message in log if isinstance(message, turns.Used)]
    rebuilt.started_ms = next((entry.id.left for entry in entries if isinstance(entry.message, turns.EpochTaken)), 0)
    if opened.session is not None:
        rebuilt.session = msgspec.json.decode(opened.session)
    said: dict[str, say.JsonObject] = {}
    """by the user, or the app's backend"""
    assistants: dict[str, turns.AssistantSaid] = {}
    committed: dict[str, Position] = {}
    starts: dict[str, Position] = {}
    """of what is committed, where it is known; else START"""
    removed: set[str] = set()
    calls = _Calls()
    order: list[str] = []
    for message in log:
        match message:
            case turns.Begun(response=response, pcm_id=pcm_id, offset=offset, calls=covered):
                rebuilt.covered[response] = covered
                rebuilt.begun[response] = Position(EntryId.parse(pcm_id), offset)
            case turns.Answered(response=response, pcm_id=pcm_id, offset=offset) as answered:
                rebuilt.position = max(rebuilt.position, Position(EntryId.parse(pcm_id), offset))
                rebuilt.answered.add(response)
                rebuilt.latest = response
                rebuilt.goes_on = not answered.whole
                calls.settled.update(answered.calls)
                calls.abouts[response] = Position(EntryId.parse(pcm_id), offset)
            case turns.ToolCalled(call_id=call_id) as call:
                if call_id not in calls.made:
                    order.append(call_id)
                    calls.made[call_id] = call, rebuilt.persona
            case turns.ToolAnswered(call_id=call_id) as output:
                calls.outputs.setdefault(call_id, output)
            case turns.PersonaChosen(persona=persona, fresh=fresh):
                rebuilt.persona, rebuilt.instructions = persona, None
                if fresh:
                    order.clear()
                    rebuilt.goes_on = False
            case turns.InstructionsGiven(instructions=instructions):
                rebuilt.instructions = instructions
            case turns.SessionChanged(session=session, pcm_id=pcm_id):
                rebuilt.session, rebuilt.changed_by = msgspec.json.decode(session), EntryId.parse(pcm_id)
            case turns.Committed(item=item, pcm_id=pcm_id, offset=offset, start_id=start_id, start_offset=start_offset):
                if item in committed and item in order:  # words, which are named after their entry, and were said again
                    order.remove(item)
                removed.discard(item)
                order.append(item)
                committed[item] = Position(EntryId.parse(pcm_id), offset)
                starts[item] = START if start_id is None else Position(EntryId.parse(start_id), start_offset or 0)
            case turns.Removed(item=item):
                removed.add(item)
            case turns.UserSaid(item=item, text=text):
                said[item] = say.user_text(text)
            case turns.SystemSaid(item=item, text=text):
                said[item] = say.system_text(text)
            case turns.AssistantSaid(item=item) as answer:
                if item not in assistants:
                    order.append(item)
                assistants[item] = _later(assistants.get(item), answer)
            case _:
                pass
    rebuilt.position = max(rebuilt.position, upto)
    rebuilt.items = [
        say.user_text(line.content) if line.role == "user" else say.assistant_text(line.content) for line in opened.history
    ]
    _retell(rebuilt, [item for item in order if item not in removed], starts, committed, said, assistants, calls)
    return rebuilt


def _retell(
    rebuilt: Rebuilt,
    kept: list[str],
    starts: dict[str, Position],
    committed: dict[str, Position],
    said: dict[str, say.JsonObject],
    assistants: dict[str, turns.AssistantSaid],
    calls: _Calls,
) -> None:
    """Of all that was said, in order, what the model is told of: all that is answered, the newest MAX_ITEMS of it."""
    rebuilt.unanswered = [item for item in kept if item in committed and committed[item] > rebuilt.position]
    before = START
    oldest = max(0, len(kept) - MAX_ITEMS)
    for place, item in enumerate(each for each in kept if each not in rebuilt.unanswered):
        start, before = before, committed.get(item, before)
        if place < oldest:
            continue
        if item in calls.made:
            calls.retell(item, rebuilt)
        elif item in assistants:
            answer = assistants[item]  # of one that is not done nothing counts: it is given again
            if answer.text and (not answer.response or answer.response in rebuilt.answered):
                rebuilt.items.append(say.assistant_text(answer.text, _name(item)))
        elif item in said:
            name = _name(item)
            rebuilt.items.append(said[item] if name is None else {"id": name, **said[item]})
        else:
            start = max(start, starts.get(item, START))  # what is between two turns is none
            rebuilt.unwritten.append(Unwritten(item, len(rebuilt.items), start, before))
            rebuilt.items.append(say.user_audio(b"", _name(item)))  # the sound itself is read when it is told


def _name(item: str) -> str | None:
    """An item keeps its name on the next socket, where that may be as long."""
    return item if 0 < len(item) <= MAX_NAME else None


class _Calls:
    """The function calls of a conversation."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[turns.ToolCalled, str | None]] = {}
        """by call id, and who the model was then"""
        self.outputs: dict[str, turns.ToolAnswered] = {}
        self.settled: set[str] = set()
        self.abouts: dict[str, Position] = {}
        """up to where each response has answered"""

    def retell(self, call_id: str, rebuilt: Rebuilt) -> None:
        """A call is told with its output right behind it. What comes again with `pcm` is not told now."""
        call, persona = self.made[call_id]
        if not _is_there(call.pcm_id, rebuilt) or (call.pcm_id is None and call.response not in self.abouts):
            return
        rebuilt.items.append(say.function_call(call_id, call.name, call.arguments))
        output = self.outputs.get(call_id)
        if output is not None and _is_there(output.pcm_id, rebuilt):
            rebuilt.items.append(say.function_call_output(call_id, output.output))
        if call.by_client and call.response and output is None:
            rebuilt.theirs.append(call)
        if not call.by_client and call_id not in self.settled:
            rebuilt.owed.append(Owed(call, self.abouts[call.response], persona, output is not None))


def _is_there(pcm_id: str | None, rebuilt: Rebuilt) -> bool:
    """Whether what the client said in this entry is behind the position at which it goes on."""
    return pcm_id is None or EntryId.parse(pcm_id) <= rebuilt.position.entry


def _later(known: turns.AssistantSaid | None, said: turns.AssistantSaid) -> turns.AssistantSaid:
    """An item is told of again when it was interrupted after it was generated: then with what was heard of it."""
    if known is None or said.text or said.heard_ms is not None:
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


def told_to(entries: Iterable[Entry[down.DownMessage]]) -> EntryId:
    """The latest entry of `pcm` with which something was wrong, and the client was told, as far as `down` still knows."""
    failures = (entry.message for entry in entries if isinstance(entry.message, down.Failed))
    return max((EntryId.parse(failed.pcm_id) for failed in failures if failed.pcm_id is not None), default=ZERO)
