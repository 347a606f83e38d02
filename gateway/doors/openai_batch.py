"""PURE. What one request of the openai door carries: an event, or some in order; which are new, and which are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from gateway.doors import openai_messages as wire
from gateway.doors.openai_entries import VOIDED, Chunks, Samples, message, messages
from gateway.doors.openai_formats import NONE, Formats, asked_by
from gateway.errors import NoEvents, TooManyEvents
from streams.ids import EntryId
from streams.messages import Message
from streams.stopping import Played

MAX_EVENTS = 4096
"""Of one request: more than a minute of speech in frames of 20 ms."""

_list = msgspec.json.Decoder(list[msgspec.Raw])
_one = msgspec.json.Decoder(msgspec.Raw)


def events_of(body: bytes) -> list[bytes]:
    """The JSON of each event. Raises NoEvents, TooManyEvents."""
    try:
        body.decode()
        if body.lstrip()[:1] != b"[":
            event = bytes(_one.decode(body))
            if event.lstrip()[:1] != b"{":
                raise NoEvents
            return [event]
        events = _list.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise NoEvents from None
    if len(events) > MAX_EVENTS:
        raise TooManyEvents(MAX_EVENTS)
    return [bytes(event) for event in events]


@dataclass(slots=True)
class Batch:
    """What becomes of the events of one request."""

    messages: list[Message] = field(default_factory=list)
    """to be stored, in order; numbered ones carry the numbers from the next one on"""
    formats: Formats = NONE
    """what the client names of formats, before the message at `names_at`"""
    names_at: int = 0
    speaks: bool = False
    """something of it is audio"""
    kinds: list[str] = field(default_factory=list)
    """of the events that were read"""
    mistakes: list[tuple[int, wire.Mistake]] = field(default_factory=list)
    """what was refused, and its place in the request"""
    stored: int = 0
    """events that `messages` are made of"""
    want: int | None = None
    """the number that is missing: what comes behind it was not looked at"""
    received: EntryId | None = None
    """the client has got all up to here"""
    played: EntryId | None = None
    """and heard all up to here"""
    played_at: Played | None = None
    """the last that it said of an item"""

    def name(self, formats: Formats, event_id: str | None, useq: int | None) -> None:
        """Raises Mistake: what the audio beside it is would be anybody's guess."""
        if not formats:
            return
        if formats.input is not None and self.speaks:
            raise _mixed(event_id, useq)
        before = self.formats
        self.names_at = self.names_at if before else len(self.messages)
        self.formats = Formats(formats.input or before.input, formats.output or before.output)

    def speak(self, event_id: str | None, useq: int | None) -> None:
        """Raises Mistake, as above."""
        if self.formats.input is not None:
            raise _mixed(event_id, useq)
        self.speaks = True

    def note(self, said: wire.Received | wire.Played) -> None:
        """The furthest place counts."""
        if isinstance(said, wire.Received):
            self.received = said.did if self.received is None else max(self.received, said.did)
        else:
            self.played = said.did if self.played is None else max(self.played, said.did)
            self.played_at = said.at or self.played_at


def _mixed(event_id: str | None, useq: int | None) -> wire.Mistake:
    sentence = "A request that appends audio cannot name 'session.audio.input.format', too: send it in one of its own."
    mistake = wire.Mistake("invalid_value", sentence, param="session.audio.input.format", event_id=event_id)
    mistake.useq = useq
    return mistake


def plain(events: Sequence[bytes], *, chunked: bool = False) -> Batch:
    """Of a client that does not number. Half a sample at the end of its speech is dropped."""
    batch, samples = Batch(), Chunks() if chunked else Samples()
    for index, text in enumerate(events):
        try:
            said = wire.decode(text, parley=False)
            if isinstance(said, wire.Event):
                said, formats = asked_by(said)
                batch.name(formats, said.event_id, None)
            elif isinstance(said, wire.Audio):
                batch.speak(said.event_id, None)
        except wire.Mistake as mistake:
            batch.mistakes.append((index, mistake))
            continue
        batch.kinds.append(said.kind)
        if isinstance(said, wire.Received | wire.Played):
            batch.note(said)
        else:
            batch.messages += messages(said, samples)
            batch.stored += 1
    return batch


def numbered(events: Sequence[bytes], next_useq: int, *, chunked: bool = False) -> Batch:
    """Of a client that numbers; all before `next_useq` is stored. A refused event has used up its number."""
    batch, wanted = Batch(), next_useq
    for index, text in enumerate(events):
        entry: Message = VOIDED
        mistake: wire.Mistake | None = None
        useq: int | None = None
        try:
            said = wire.decode(text, parley=True, chunked=chunked)
            batch.kinds.append(said.kind)
            useq = said.useq
            if isinstance(said, wire.Received | wire.Played):
                batch.note(said)
            elif useq is None:
                sentence = "Missing required parameter: 'useq'."
                raise wire.Mistake("missing_required_parameter", sentence, param="useq", event_id=said.event_id)
            elif useq == wanted:
                if isinstance(said, wire.Event):
                    said, formats = asked_by(said)
                    batch.name(formats, said.event_id, useq)
                elif isinstance(said, wire.Audio):
                    batch.speak(said.event_id, useq)
                entry = message(said, chunked=chunked)
        except wire.Mistake as error:
            mistake, useq = error, error.useq
        if useq is not None:
            if useq > wanted:
                batch.want = wanted
                break
            if useq < wanted:
                continue
            wanted += 1
            batch.messages.append(entry)
            batch.stored += 1
        if mistake is not None:
            batch.mistakes.append((index, mistake))
    return batch
