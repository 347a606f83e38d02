"""A conversation whose model calls functions, without sockets: what goes in, what is done, in short."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import msgspec

from realtime_bridge.conversation import Conversation
from realtime_bridge.effects import CallTool, Effect, Record, Say, Send
from realtime_bridge.personas import Persona, Personas, Tool
from realtime_bridge.rebuild import Rebuilt
from realtime_bridge.server_events import parse
from streams import down, turns
from streams.consumer import Entry
from streams.ids import EntryId
from streams.messages import ClientEvent

TOOLS = (Tool("weather", "The weather."), Tool("time", "The time.", url="https://clock.example/"))

PERSONAS = Personas(
    MappingProxyType(
        {
            "sun": Persona("Be warm.", "marin", tools=TOOLS),
            "moon": Persona("Be cool.", "marin", greeting="", tools=TOOLS[:1], tool_choice="weather"),
            "mars": Persona("Be bold.", "cedar", greeting=""),
        }
    ),
    "sun",
)

SPEAKS = {"type": "input_audio_buffer.speech_started", "item_id": "u2"}
STOPS = {"type": "input_audio_buffer.speech_stopped", "item_id": "u2", "audio_end_ms": 0}


class Talk:
    """A conversation whose model calls functions. What it does is noted down in `did`, in short."""

    def __init__(
        self, door: str = "ios", persona: str | None = None, rebuilt: Rebuilt | None = None, *, announces: bool = True
    ) -> None:
        opened = turns.Opened(user="ann", door=door, turn_mode="server_vad", persona=persona)
        self.conversation = Conversation(opened, PERSONAS, None)
        self.now = 100.0
        self.announces = announces
        self.did: list[str] = []
        self.recorded: list[Any] = []
        self.creates: list[Any] = []
        """the `response` of each `response.create`"""
        self.told: list[down.DownMessage] = []
        self.configured: Any = None
        self._seq = 0
        if rebuilt is not None:
            self.conversation.restore(rebuilt)
        self.dialled()

    def dialled(self) -> None:
        (configure,) = self.conversation.dialled()
        assert isinstance(configure, Send)
        self.configured = msgspec.to_builtins(configure.event)["session"]
        self.hears({"type": "session.updated", "session": {"type": "realtime"}})

    def hears(self, event: dict[str, Any]) -> None:
        raw = msgspec.json.encode({"event_id": "e", **event}).decode()
        self.note(self.conversation.received(parse(raw), raw, self.now))

    def created(self, response: str) -> None:
        self.hears({"type": "response.created", "response": {"id": response}})

    def done(self, response: str, *calls: str, status: str = "completed") -> None:
        """It is done, and has made these calls: `id:name` or `id:name:arguments`."""
        output = [function_call(each) for each in calls]
        for index, item in enumerate(output):
            if self.announces:
                self.hears({"type": "conversation.item.added", "item": item})
            ids = {"response_id": response, "item_id": item["id"], "output_index": index, "call_id": item["call_id"]}
            for _ in range(2):  # twice: some servers do
                arguments = {"name": item["name"], "arguments": item["arguments"]}
                self.hears({"type": "response.function_call_arguments.done", **ids, **arguments})
            self.hears({"type": "response.output_item.done", "response_id": response, "output_index": index, "item": item})
        about = {"id": response, "status": status, "output": output}
        self.hears({"type": "response.done", "response": about})

    def calls(self, *calls: str, response: str = "r1") -> Talk:
        """A whole response of nothing but these."""
        self.created(response)
        self.done(response, *calls)
        return self

    def answers(self, call_id: str, output: str = "1", error: str | None = None) -> None:
        self.note(self.conversation.tool_answered(call_id, output, error, self.now))

    def has(self, call_id: str) -> None:
        """The model says that it has this output."""
        item = {"id": "o", "type": "function_call_output", "call_id": call_id, "output": "1"}
        self.hears({"type": "conversation.item.added", "item": item})

    def speaks(self) -> None:
        ids = {"response_id": "r0", "item_id": "i0", "output_index": 0, "content_index": 0}
        self.hears({"type": "response.output_audio.delta", **ids, "delta": "AAAA"})

    def refuses(self, code: str = "conversation_already_has_active_response", event_id: str | None = None) -> None:
        detail = {"type": "invalid_request_error", "code": code, "message": "No.", "event_id": event_id}
        self.hears({"type": "error", "error": detail})

    def wakes(self, after_s: float) -> None:
        self.now += after_s
        self.note(self.conversation.wake(self.now))

    def says(self, message: Any) -> None:
        self._seq += 1
        self.note(self.conversation.said(Entry(EntryId(9, self._seq), message), self.now))

    def asks(self, kind: str, **fields: object) -> None:
        self.says(ClientEvent(kind, msgspec.Raw(msgspec.json.encode({"type": kind, **fields}))))

    def note(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case CallTool(call_id=call_id):
                    self.did.append(f"call {call_id}")
                case Send(event=event):
                    told = msgspec.to_builtins(event)
                    if event.type == "conversation.item.create":
                        self.did.append(f"{told['item']['type']} {told['item'].get('call_id', '')}".strip())
                    elif event.type == "response.create":
                        self.did.append("go on")
                        self.creates.append(told.get("response"))
                case Record(message=message) if not isinstance(message, turns.Begun):
                    self.recorded.append(message)
                case Say(message=message):
                    self.told.append(message)
                case _:
                    pass


def function_call(call: str) -> dict[str, Any]:
    call_id, name, *arguments = call.split(":", 2)
    item = {"id": f"item_{call_id}", "type": "function_call", "status": "completed"}
    return {**item, "call_id": call_id, "name": name, "arguments": arguments[0] if arguments else "{}"}
