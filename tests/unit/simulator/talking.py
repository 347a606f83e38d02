"""A session in memory, with a clock that only moves when a test moves it, and the official types watching every event."""

from __future__ import annotations

from random import Random
from typing import Annotated

from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import Field, TypeAdapter

from simulator.agenda import Close
from simulator.options import Options
from simulator.session import Session
from simulator.wire import Object, audio_text, encode

_SERVER: TypeAdapter[object] = TypeAdapter(Annotated[RealtimeServerEvent, Field(discriminator="type")])
_CLIENT: TypeAdapter[object] = TypeAdapter(Annotated[RealtimeClientEvent, Field(discriminator="type")])
_OBFUSCATED = ("text.delta", "transcript.delta", "transcription.delta", "arguments.delta")


class Talk:
    """One client and its session. What `say` returns is what the server answers by then."""

    def __init__(self, options: Options, model: str = "gpt-realtime-2.1") -> None:
        self.now = 0.0
        self.session = Session(options, model, now=0.0, wall=1_700_000_000.0, random=Random(7))
        self.log: list[Object] = []
        """all server events"""
        self.closed: Close | None = None
        self._event_ids: set[str] = set()
        self.hear()

    def say(self, kind: str, **fields: object) -> list[Object]:
        """Send a client event that the official types know."""
        frame = encode({"type": kind, **fields})
        _CLIENT.validate_json(frame, strict=True)
        return self.say_raw(frame)

    def say_raw(self, frame: bytes | str) -> list[Object]:
        self.session.receive_frame(frame, self.now)
        return self.hear()

    def append(self, audio: bytes) -> list[Object]:
        return self.say("input_audio_buffer.append", audio=audio_text(audio))

    def hear(self) -> list[Object]:
        """What is due now."""
        events: list[Object] = []
        for effect in self.session.due(self.now):
            if isinstance(effect, Close):
                self.closed = effect
            else:
                self._check(effect)
                events.append(effect)
        self.log += events
        return events

    def wait(self, seconds: float) -> list[Object]:
        """Let time pass, and collect what is due meanwhile."""
        self.now += seconds
        return self.hear()

    def settle(self) -> list[Object]:
        """Let time pass until nothing happens any more but the end of the session."""
        return self.wait(600.0)

    def update(self, **session: object) -> list[Object]:
        return self.say("session.update", session={"type": "realtime", **session})

    def push_to_talk(self) -> None:
        self.update(audio={"input": {"turn_detection": None}})

    def _check(self, event: Object) -> None:
        _SERVER.validate_json(encode(event), strict=True)
        event_id = str(event["event_id"])
        assert event_id not in self._event_ids, "an event id came twice"
        self._event_ids.add(event_id)
        if str(event["type"]).endswith(_OBFUSCATED):
            assert 11 <= len(str(event["obfuscation"])) <= 14
