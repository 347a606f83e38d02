"""PURE. What a conversation wants done; the shell (`line.py`) does it, in the order given."""

from __future__ import annotations

from dataclasses import dataclass

from realtime_bridge.client_events import ClientEvent
from realtime_bridge.spoken import Position
from streams.down import DownMessage
from streams.ids import EntryId
from streams.turns import TurnsMessage


@dataclass(frozen=True, slots=True)
class Send:
    """Say this to the model."""

    event: ClientEvent


@dataclass(frozen=True, slots=True)
class Forward:
    """Say to the model what the client says to it."""

    frame: str


@dataclass(frozen=True, slots=True)
class SendAudio:
    """Append this speech to the model's input buffer: PCM16 24 kHz mono."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class Reappend:
    """Append again what `pcm` holds from behind `after` up to and with `upto`: the model has forgotten it, Redis has not."""

    after: EntryId
    upto: EntryId


@dataclass(frozen=True, slots=True)
class TellSound:
    """Tell the model what the user said, under this name, as sound: what `pcm` still holds from `start` to `end`."""

    item: str
    start: Position
    end: Position
    due: bool = False
    """an answer waits for it"""


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the client: an entry of `down`."""

    message: DownMessage


@dataclass(frozen=True, slots=True)
class Record:
    """Remember what was said: an entry of `turns`."""

    message: TurnsMessage


@dataclass(frozen=True, slots=True)
class Stop:
    """Have the client's gateway send no more of these parts, and say how much of each was heard: `Conversation.stopped`."""

    stop: str
    """its name"""
    parts: tuple[tuple[str, int], ...]
    """(item, content index), in the order in which they are heard"""


@dataclass(frozen=True, slots=True)
class Trim:
    """All of `pcm` up to and with this entry has been dealt with."""

    upto: EntryId


@dataclass(frozen=True, slots=True)
class CallTool:
    """Call this function of a persona's, and tell `Conversation.tool_answered` what it said. Once, however often asked."""

    call_id: str
    name: str
    arguments: str
    """a JSON object"""
    persona: str


@dataclass(frozen=True, slots=True)
class Redial:
    """Open a fresh upstream socket, and call `Conversation.dialled` when it is there."""


@dataclass(frozen=True, slots=True)
class Break:
    """This upstream socket is of no use any more, whatever it says: go on as if its line had broken."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The session is over; say so to the client and close everything."""

    reason: str


Effect = Send | Forward | SendAudio | Reappend | TellSound | Say | Record | Stop | Trim | CallTool | Redial | Break | Finish
