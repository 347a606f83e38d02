"""A conversation and both its sides, without sockets: what tests of its decisions are played on."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import msgspec
import pybase64

from realtime_bridge.conversation import Conversation
from realtime_bridge.effects import Effect, Reappend, Say, Send, SendAudio, Stop
from realtime_bridge.personas import Persona, Personas
from realtime_bridge.rebuild import Rebuilt
from realtime_bridge.server_events import parse
from streams import down, pcm, turns
from streams.consumer import Entry
from streams.ids import EntryId

MS = 48
"""bytes of PCM16 at 24 kHz"""

PERSONAS = Personas(
    MappingProxyType(
        {
            "sun": Persona(instructions="Be warm.", voice="marin"),
            "moon": Persona(instructions="Be cool.", voice="marin", greeting="Say good night."),
            "mars": Persona(instructions="Be bold.", voice="cedar"),
        }
    ),
    "sun",
)


class Talk:
    """A conversation and both its sides, with a clock that is set by hand."""

    def __init__(
        self, turn_mode: turns.TurnMode = "utterance", persona: str | None = None, rebuilt: Rebuilt | None = None
    ) -> None:
        opened = turns.Opened(user="ann", door="mobile", turn_mode=turn_mode, persona=persona)
        self.conversation = Conversation(opened, PERSONAS, None)
        self.now = 100.0
        self._seq = 0
        if rebuilt is not None:
            self.conversation.restore(rebuilt)
            self._seq = rebuilt.position.entry.right

    def ready(self) -> Talk:
        self.conversation.dialled()
        self.hears({"type": "session.updated", "session": {"type": "realtime"}})
        assert self.conversation.ready
        return self

    def says(self, message: pcm.PcmMessage) -> list[Effect]:
        self._seq += 1
        return self.conversation.said(Entry(EntryId(1, self._seq), message), self.now)

    def records(self, ms: int, *, arrived_ms: int | None = None) -> list[Effect]:
        """A whole recording of this length comes."""
        arrived = int(self.now * 1000) if arrived_ms is None else arrived_ms
        effects = self.says(pcm.Audio(bytes(ms * MS)))
        return effects + self.says(pcm.UtteranceEnd(samples=ms * 24, arrived_ms=arrived, source="m4a"))

    def hears(self, event: dict[str, Any]) -> list[Effect]:
        raw = msgspec.json.encode({"event_id": "e", **event}).decode()
        return self.conversation.received(parse(raw), raw, self.now)

    def answer_begins(self, response: str = "r1", item: str = "a1", ms: int = 0) -> list[Effect]:
        effects = self.hears({"type": "response.created", "response": {"id": response}})
        return effects + (self.delta(ms, response, item) if ms else [])

    def delta(self, ms: int, response: str = "r1", item: str = "a1") -> list[Effect]:
        audio = pybase64.b64encode(bytes(ms * MS)).decode()
        ids = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
        return self.hears({"type": "response.output_audio.delta", **ids, "delta": audio})

    def answer_ends(self, response: str = "r1", item: str = "a1", status: str = "completed") -> list[Effect]:
        output = [{"id": item, "type": "message", "role": "assistant"}]
        return self.hears({"type": "response.done", "response": {"id": response, "status": status, "output": output}})

    def wakes(self, after_s: float) -> list[Effect]:
        """Time passes, and the conversation is asked whether anything is due."""
        self.now += after_s
        return self.conversation.wake(self.now)

    def stops(self, effects: list[Effect], heard: dict[tuple[str, int], int] | None = None) -> list[Effect]:
        """The gateway stops, as these effects ask it to, and says how much was heard: by default, that it does not know."""
        (stop,) = [effect for effect in effects if isinstance(effect, Stop)]
        return self.conversation.stopped(stop.stop, heard or {}, self.now)

    def committed(self, item: str) -> list[Effect]:
        return self.hears({"type": "input_audio_buffer.committed", "item_id": item})

    def written(self, item: str) -> list[Effect]:
        """The words of the user's turn come."""
        kind = "conversation.item.input_audio_transcription.completed"
        return self.hears({"type": kind, "item_id": item, "content_index": 0, "transcript": "Hello."})


def sent(effects: list[Effect]) -> list[str]:
    """The names of what goes upstream, in order."""
    names = []
    for effect in effects:
        match effect:
            case Send(event=event):
                names.append(event.type)
            case SendAudio():
                names.append("audio")
            case Reappend():
                names.append("again")
            case _:
                pass
    return names


def told(effects: list[Effect]) -> list[down.DownMessage]:
    return [effect.message for effect in effects if isinstance(effect, Say)]


def truncated_at(effects: list[Effect]) -> list[tuple[str, int, int]]:
    events = [msgspec.to_builtins(effect.event) for effect in effects if isinstance(effect, Send)]
    cuts = [event for event in events if event["type"] == "conversation.item.truncate"]
    return [(event["item_id"], event["content_index"], event["audio_end_ms"]) for event in cuts]
