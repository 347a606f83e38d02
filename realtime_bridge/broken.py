"""PURE. Answers that were begun when their socket broke, read from what the client was told of them (`down`).

What has come of such an answer is in `down`, and goes on being heard. It becomes the assistant's words, and the question
counts as answered; the rest is for the next socket to say (`goes_on`). What had not begun to be heard or read is asked anew;
but an answer whose end the client was told, with a function in it, has called it. The client is told the end of what it was
told the beginning of, so that nothing stays open for ever.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from realtime_bridge import server_events as hear
from realtime_bridge.heard_text import heard_so_far, heard_text
from realtime_bridge.rebuild import Rebuilt
from realtime_bridge.spoken import SAMPLES_PER_MS
from streams import down, turns
from streams.consumer import Entry


class _Response(msgspec.Struct):
    id: str | None = None
    status: str | None = None
    conversation_id: object = msgspec.UNSET
    """None: out of band"""


class _Item(msgspec.Struct):
    id: str | None = None
    type: str | None = None


class _Body(msgspec.Struct):
    """What is looked at of an event of the model's."""

    response_id: str | None = None
    item_id: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    delta: str | None = None
    transcript: str | None = None
    text: str | None = None
    response: _Response | None = None
    item: _Item | None = None


_body = msgspec.json.Decoder(_Body)

_WORDS = ("response.output_audio_transcript.delta", "response.output_text.delta")
_ALL_WORDS = ("response.output_audio_transcript.done", "response.output_text.done")
_OF_RESPONSES = ("response.created", "response.done")
_OF_ITEMS = ("response.output_item.added", "response.output_item.done")
_ALL_SOUND = "response.output_audio.done"
_ALL_ARGUMENTS = "response.function_call_arguments.done"


@dataclass
class Part:
    """One content part, as far as the client was told of it."""

    output: int = 0
    received_ms: int = 0
    text: str = ""
    is_sound: bool = False
    has_all_words: bool = False
    has_all_sound: bool = False
    cut_at_ms: int | None = None
    """the user interrupted it there"""

    @property
    def complete(self) -> bool:
        return self.has_all_words and (self.has_all_sound or not self.is_sound)

    @property
    def heard_ms(self) -> int:
        return self.received_ms if self.cut_at_ms is None else min(self.cut_at_ms, self.received_ms)

    @property
    def heard(self) -> str:
        if not self.is_sound:
            return self.text
        if self.complete:
            return heard_text(self.text, self.heard_ms, self.received_ms)
        return heard_so_far(self.text, self.heard_ms, self.received_ms)


@dataclass
class Begun:
    """An answer that is not known to be done."""

    response: str
    parts: dict[tuple[str, int], Part] = field(default_factory=dict)
    open_items: set[str] = field(default_factory=set)
    calls: bool = False
    """it asks for a function, so it is not done by what it says"""
    told_calls: set[tuple[str, str]] = field(default_factory=set)
    """events about items that are calls, which the client was told of: kind and item"""
    created: bool = True
    """the client was told that it begins"""
    noted: bool = False
    """it was done for the bridge, and so it is noted, with all that it asks for; the client has not been told all of it"""
    done: bool = False
    called: list[hear.Item] = field(default_factory=list)
    """what it asks for, where the client was told its end"""

    @property
    def items(self) -> list[str]:
        return list(dict.fromkeys(item for item, _ in self.parts))

    @property
    def has_output(self) -> bool:
        return any(part.received_ms or (part.text and not part.is_sound) for part in self.parts.values())

    @property
    def was_interrupted(self) -> bool:
        return any(part.cut_at_ms is not None for part in self.parts.values())

    @property
    def is_whole(self) -> bool:
        """Nothing is missing but the word that it is done."""
        asks = self.calls and not self.noted
        return self.done or (not self.open_items and not asks and all(part.complete for part in self.parts.values()))


def begun_answers(entries: Iterable[Entry[down.DownMessage]], answered: set[str]) -> list[Begun]:
    """The answers that the client was told the beginning of, and not the end, or that nobody has noted as answered.

    `turns` and `down` are written side by side: a bridge may die when an answer is noted, and its last sound is not stored.
    """
    found: dict[str, Begun] = {}
    for entry in entries:
        match entry.message:
            case down.Audio(response=response, item=item, part=index, start_ms=start_ms, audio=audio):
                part = _part(found, response, item, index)
                part.is_sound = True
                part.received_ms = max(part.received_ms, start_ms + len(audio) // 2 // SAMPLES_PER_MS)
            case down.Interrupted(item=item, part=index, at_ms=at_ms):
                for begun in found.values():
                    if (item, index) in begun.parts:
                        begun.parts[item, index].cut_at_ms = at_ms
            case down.ServerEvent(type=kind, body=body) if kind.startswith("response."):
                _hear(found, kind, heard := _body.decode(body))
                if kind == "response.done" and heard.response and heard.response.id:
                    found[heard.response.id].called = _calls(heard.response, bytes(body))
            case _:
                pass
    for begun in found.values():
        begun.noted = begun.response in answered
    return [begun for begun in found.values() if not (begun.noted and begun.done)]


def _untold(entries: Sequence[Entry[down.DownMessage]], rebuilt: Rebuilt) -> list[Begun]:
    """The answer that was noted last, if it asks the client for a function and nothing at all of it is in `down`.

    What has arrived is trimmed from there; but not the latest entries, and what comes later was written later.
    """
    bodies = [_body.decode(each.message.body) for each in entries if isinstance(each.message, down.ServerEvent)]
    told = {body.response_id or (body.response and body.response.id) for body in bodies} - {None}
    told |= {each.message.response for each in entries if isinstance(each.message, down.Audio)}
    latest, calls = rebuilt.latest, {call.response for call in rebuilt.theirs}
    is_whole = bool(entries) and isinstance(entries[0].message, down.Opened)
    if latest is None or latest not in calls or latest in told or not told <= rebuilt.answered or not (told or is_whole):
        return []
    return [Begun(latest, calls=True, noted=True, created=False)]


def _calls(response: _Response, body: bytes) -> list[hear.Item]:
    """The functions that a response has called which is done, as `Tools.done` decides."""
    event = hear.parse(body)
    is_void = response.status in ("cancelled", "failed") or response.conversation_id is None
    if not isinstance(event, hear.ResponseDone) or is_void:
        return []
    calls = (item for item in event.response.output if item.type == "function_call" and item.call_id)
    return [item for item in calls if item.status not in ("incomplete", "in_progress")]


def _part(found: dict[str, Begun], response: str, item: str, index: int) -> Part:
    return found.setdefault(response, Begun(response)).parts.setdefault((item, index), Part())


def _hear(found: dict[str, Begun], kind: str, body: _Body) -> None:
    """Servers may leave an id out; then it is about nothing that could go on."""
    if kind in _OF_RESPONSES:
        if response := body.response and body.response.id:
            found.setdefault(response, Begun(response)).done |= kind == "response.done"
    elif not body.response_id:
        return
    elif kind in _OF_ITEMS and body.item is not None:
        begun = found.setdefault(body.response_id, Begun(body.response_id))
        if body.item.type == "function_call":
            begun.calls = True
            begun.told_calls.add((kind, body.item.id or ""))
        if kind.endswith("added") and body.item.type != "function_call":
            begun.open_items.add(body.item.id or "")
        else:
            begun.open_items.discard(body.item.id or "")
    elif kind == _ALL_ARGUMENTS:
        found.setdefault(body.response_id, Begun(body.response_id)).told_calls.add((kind, body.item_id or ""))
    elif kind in (*_WORDS, *_ALL_WORDS, _ALL_SOUND) and body.item_id:
        part = _part(found, body.response_id, body.item_id, body.content_index or 0)
        part.output = body.output_index or 0
        part.is_sound |= "audio" in kind
        part.has_all_sound |= kind == _ALL_SOUND
        part.has_all_words |= kind in _ALL_WORDS
        whole = body.transcript or body.text or part.text
        part.text = whole if kind in _ALL_WORDS else part.text + (body.delta or "")


@dataclass
class Mended:
    """What is to be written before the conversation goes on."""

    turns: list[turns.TurnsMessage] = field(default_factory=list)
    told: list[down.DownMessage] = field(default_factory=list)


def mend(
    entries: Iterable[Entry[down.DownMessage]],
    rebuilt: Rebuilt,
    *,
    goes_on: bool,
    closes_all: bool = False,
    offered: Container[str] = (),
) -> Mended:
    """What becomes of what was begun. `goes_on`: the model is to say the rest. `closes_all`: the client is also told the end
    of answers in which nothing was said, and of functions that it is to run: all but those that are `offered` here."""
    mended, entries = Mended(), list(entries)
    for begun in [*begun_answers(entries, rebuilt.answered), *(_untold(entries, rebuilt) if closes_all else ())]:
        calls = [] if begun.noted else begun.called
        if begun.has_output or calls:
            heard = [(item, part) for (item, _), part in begun.parts.items() if part.received_ms or part.text]
            for item in begun.items if begun.has_output else ():
                parts = [part for each, part in heard if each == item]
                mended.turns.append(_said(begun.response, item, parts))
            # A client that was told of a call runs it: to ask the model anew would have it run twice.
            for call in calls:
                by_client = closes_all and call.name not in offered
                mended.turns.append(_called(begun.response, call, by_client=by_client))
            about = rebuilt.begun.get(begun.response, rebuilt.position)
            whole = begun.is_whole or begun.was_interrupted or not goes_on
            # What it said was said of the outputs it had: no other answer is owed for those.
            outputs = rebuilt.covered.get(begun.response, ())
            mended.turns.append(turns.Answered(begun.response, str(about.entry), about.samples, outputs, whole))
        if not begun.done and (begun.has_output or closes_all):
            mended.told += _closed(begun, [call for call in rebuilt.theirs if call.response == begun.response])
    return mended


def _said(response: str, item: str, parts: list[Part]) -> turns.AssistantSaid:
    whole = all(part.complete and part.cut_at_ms is None for part in parts)
    heard_ms = None if whole else sum(part.heard_ms for part in parts)
    return turns.AssistantSaid(response=response, item=item, text=" ".join(part.heard for part in parts), heard_ms=heard_ms)


def _called(response: str, call: hear.Item, *, by_client: bool) -> turns.ToolCalled:
    name, arguments = call.name or "", call.arguments or "{}"
    return turns.ToolCalled(response, call.id, call.call_id or "", name, arguments, by_client=by_client)


def _closed(begun: Begun, calls: Sequence[turns.ToolCalled]) -> list[down.DownMessage]:
    """The events with which the model would have ended it, had it ended there. `calls`: for the client to run."""
    told: list[down.DownMessage] = []
    if not begun.created:
        begins = {"object": "realtime.response", "id": begun.response, "status": "in_progress", "output": []}
        told.append(_event("response.created", response=begins))
    output: list[dict[str, Any]] = []
    for (item, index), part in begun.parts.items():
        place = {"response_id": begun.response, "item_id": item, "output_index": part.output, "content_index": index}
        if part.is_sound and not part.has_all_sound:
            told.append(_event(_ALL_SOUND, **place))
        if not part.has_all_words:
            kind, name = _ALL_WORDS[0 if part.is_sound else 1], "transcript" if part.is_sound else "text"
            told.append(_event(kind, **place, **{name: part.heard}))
        output.append({"id": item, "type": "message", "role": "assistant", "status": "incomplete", "content": []})
    for number, call in enumerate(calls, len(output)):
        known = _call_item(call)
        output.append(known)
        told += [each for each in _of_call(call, known, number) if (each.type, call.item) not in begun.told_calls]
    if calls:
        status = {"status": "completed", "status_details": None}
    elif begun.has_output:
        status = {"status": "completed" if begun.is_whole else "incomplete", "status_details": None}
    else:
        status = {"status": "cancelled", "status_details": None}
    response = {"object": "realtime.response", "id": begun.response, "output": output, "usage": None, **status}
    return [*told, _event("response.done", response=response)]


def _call_item(call: turns.ToolCalled) -> dict[str, Any]:
    about = {"call_id": call.call_id, "name": call.name, "arguments": call.arguments}
    return {"id": call.item, "object": "realtime.item", "type": "function_call", "status": "completed", **about}


def _of_call(call: turns.ToolCalled, item: dict[str, Any], place: int) -> Iterator[down.ServerEvent]:
    """All that a client may wait for before it runs the function."""
    of_item = {"response_id": call.response, "output_index": place}
    yield _event("response.output_item.added", **of_item, item={**item, "status": "in_progress", "arguments": ""})
    about = {"call_id": call.call_id, "name": call.name, "arguments": call.arguments}
    yield _event(_ALL_ARGUMENTS, **of_item, item_id=call.item, **about)
    yield _event("response.output_item.done", **of_item, item=item)


def _event(kind: str, **fields: object) -> down.ServerEvent:
    return down.ServerEvent(type=kind, body=msgspec.Raw(msgspec.json.encode({"type": kind, **fields})))
