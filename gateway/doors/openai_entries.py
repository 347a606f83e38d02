"""PURE. What an event of the openai door's client is in `pcm`."""

from __future__ import annotations

import msgspec

from gateway.doors import openai_messages as wire
from streams import pcm
from streams.messages import VOID, Clear, ClientEvent, Commit, Message
from streams.up import JOINED_BYTES

VOIDED = ClientEvent(VOID, msgspec.Raw(b"{}"))
"""A numbered event that was refused, or says nothing."""


class Samples:
    """Speech in whole samples and pieces of at most a second, however it was cut."""

    def __init__(self) -> None:
        self._half = b""
        """of a sample that waits for its other half"""

    def take(self, data: bytes) -> list[pcm.Audio]:
        """What is whole by now."""
        data = self._half + data
        whole = len(data) - len(data) % pcm.BYTES_PER_SAMPLE
        self._half = data[whole:]
        return [pcm.Audio(data[at : min(at + JOINED_BYTES, whole)]) for at in range(0, whole, JOINED_BYTES)]

    def forget(self) -> None:
        """Half a sample of what was committed or cleared belongs to nothing that comes."""
        self._half = b""


def messages(said: wire.Numbered, samples: Samples) -> list[Message]:
    """What a client that does not number has said."""
    if isinstance(said, wire.Audio):
        return [*samples.take(said.data)]
    if not isinstance(said, wire.Event):
        samples.forget()
    return [_control(said)]


def message(said: wire.Numbered) -> Message:
    """A numbered event is one entry, whatever its size."""
    if not isinstance(said, wire.Audio):
        return _control(said)
    return pcm.Audio(said.data) if said.data else VOIDED


def _control(said: wire.Commit | wire.Clear | wire.Event) -> Message:
    match said:
        case wire.Commit(event_id):
            return Commit(respond=False, event_id=event_id)
        case wire.Clear(event_id):
            return Clear(event_id)
        case wire.Event(kind, body):
            return ClientEvent(kind, msgspec.Raw(body))
