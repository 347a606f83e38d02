"""The event orders of the OpenAI Realtime API (GA), as one table: what must follow what, in the simulator and for clients.

    7.1 connect            session.created, unasked; session.update is answered by session.updated
    7.2 text turn          an item, a response in text
    7.3 voice turn         server VAD: speech_started … speech_stopped, committed, and a response by itself;
                           the transcript of the user's words comes when it comes
    7.4 push to talk       no turn detection: the client commits and asks for the response
    7.5 function call      arguments in pieces; after response.done the output, and exactly one response.create
    7.6 interruption       a) the user speaks while the response is active: it ends as cancelled/turn_detected
                           b) … while it is being played but long generated: only speech_started tells
                           c) the client truncates and cancels by itself
    7.7 cancel             a) cancelled/client_cancelled   b) nothing to cancel: a harmless error
    7.8 idle timeout       nobody said anything: an empty turn, and a response

ORDERS is made for tests: of the simulator, which must keep each order, and of whoever talks to it, which must bear it.
How an order is run or matched stands in `script.py`. The numbers are names; other files may use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from simulator.answers import Call, CallFirst, tone
from simulator.audio_format import PCM
from simulator.options import Options
from simulator.script import Anytime, Client, Expected, Fields, Order, Ref, Server, Step, Times
from simulator.wire import Object, audio_text


@cache
def speech(seconds: float) -> str:
    """What turn detection takes for speech: a buzz at a fourth of full scale, in base64."""
    times = np.arange(round(seconds * PCM.sample_rate)) / PCM.sample_rate
    return audio_text((np.sign(np.sin(2 * np.pi * 150 * times)) * 8_192).astype("<i2").tobytes())


@cache
def silence(seconds: float) -> str:
    return audio_text(bytes(round(seconds * PCM.sample_rate) * PCM.sample_bytes))


def _append(audio: str) -> Client:
    return Client({"type": "input_audio_buffer.append", "audio": audio})


def _update(**audio_input: Expected) -> tuple[Step, ...]:
    patch: Mapping[str, Expected] = {"type": "realtime", "audio": {"input": audio_input}}
    return (
        Server("session.created", {"session.type": "realtime", "session.object": "realtime.session"}),
        Client({"type": "session.update", "session": patch}),
        Server("session.updated", {"session.id": Ref("session")}),
    )


_VAD: Object = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
_DELTAS = ("response.output_audio_transcript.delta", "response.output_audio.delta")
_OF_RESPONSE: Fields = {"response_id": Ref("response")}
_OF_ANSWER: Fields = {"response_id": Ref("response"), "item_id": Ref("answer"), "content_index": 0}
_RATE_LIMITS = Anytime("rate_limits.updated", {"rate_limits.0.name": "tokens"})

_USER_ITEM: tuple[Step, ...] = (
    Server("conversation.item.added", {"item.id": Ref("user"), "item.role": "user"}),
    Server("conversation.item.done", {"item.id": Ref("user"), "item.status": "completed"}),
)
_COMMITTED: tuple[Step, ...] = (
    Server("input_audio_buffer.committed", {"item_id": Ref("user")}),
    Server(
        "conversation.item.added",
        {"item.id": Ref("user"), "item.content.0.type": "input_audio", "item.content.0.transcript": None},
    ),
    Server("conversation.item.done", {"item.id": Ref("user")}),
)
_ONE_USER_TURN: tuple[Step, ...] = (
    _append(speech(1.0)),
    Server("input_audio_buffer.speech_started", {"item_id": Ref("user"), "audio_start_ms": 0}),
    _append(silence(1.0)),
    Server("input_audio_buffer.speech_stopped", {"item_id": Ref("user"), "audio_end_ms": 1500}),
    *_COMMITTED,
)


def _message_opened(part: str) -> tuple[Step, ...]:
    return (
        Server("response.created", {"response.id": Ref("response"), "response.status": "in_progress"}),
        Server("response.output_item.added", {**_OF_RESPONSE, "item.id": Ref("answer"), "item.status": "in_progress"}),
        Server("conversation.item.added", {"item.id": Ref("answer"), "item.role": "assistant", "item.content": []}),
        Server("response.content_part.added", {**_OF_ANSWER, "part.type": part}),
    )


def _message_closed(status: str, reason: str | None) -> tuple[Step, ...]:
    item_status = "completed" if status == "completed" else "incomplete"
    return (
        Server("response.output_audio.done", _OF_ANSWER),
        Server("response.output_audio_transcript.done", _OF_ANSWER),
        Server("response.content_part.done", {**_OF_ANSWER, "part.type": "audio"}),
        *_item_closed("answer", item_status),
        Server(
            "response.done",
            {
                "response.id": Ref("response"),
                "response.status": status,
                "response.status_details.reason": reason,
                "response.output.0.id": Ref("answer"),
                "response.output.0.status": item_status,
            },
        ),
        _RATE_LIMITS,
    )


def _item_closed(name: str, status: str) -> tuple[Step, ...]:
    return (
        Server("conversation.item.done", {"item.id": Ref(name), "item.status": status}),
        Server("response.output_item.done", {"item.id": Ref(name), "item.status": status}),
    )


_SPOKEN: tuple[Step, ...] = (
    *_message_opened("audio"),
    Server("response.output_audio_transcript.delta", _OF_ANSWER),  # the words run ahead of the sound
    Server(_DELTAS, _OF_ANSWER, Times.SOME),
    *_message_closed("completed", None),
)
_SPOKEN_ANEW: tuple[Step, ...] = tuple(
    Server(step.types, {}, step.times) if isinstance(step, Server) else step for step in _SPOKEN
)
"""A second answer in the same session: the same order, with ids of its own."""
_FIRST_SOUND: tuple[Step, ...] = (
    *_message_opened("audio"),
    Server("response.output_audio_transcript.delta", _OF_ANSWER, Times.SOME),
    Server("response.output_audio.delta", _OF_ANSWER),
)

_AT_ONCE = Options(speed=0)
_SHORT = Options(speed=0, answer=tone(440, 0.1))
_LONG = Options(speed=1, answer=tone(440, 30))
"""Long enough to be interrupted, on any machine."""
_ARGUMENTS = '{"city":"Bonn","unit":"celsius"}'
_CALLING = Options(speed=0, answer=CallFirst((Call("weather", _ARGUMENTS),)))

CONNECT = Order("connect", "7.1", _update(turn_detection=None), _AT_ONCE)

TEXT_TURN = Order(
    "text turn",
    "7.2",
    (
        Server("session.created"),
        Client({"type": "session.update", "session": {"type": "realtime", "output_modalities": ("text",)}}),
        Server("session.updated", {"session.output_modalities": ["text"]}),
        Client(
            {
                "type": "conversation.item.create",
                "item": {
                    "type": "message",
                    "role": "user",
                    "content": ({"type": "input_text", "text": "Good morning."},),
                },
            }
        ),
        *_USER_ITEM,
        Client({"type": "response.create"}),
        *_message_opened("text"),
        Server("response.output_text.delta", _OF_ANSWER, Times.SOME),
        Server("response.output_text.done", _OF_ANSWER),
        Server("response.content_part.done", {**_OF_ANSWER, "part.type": "text"}),
        *_item_closed("answer", "completed"),
        Server("response.done", {"response.id": Ref("response"), "response.status": "completed"}),
        _RATE_LIMITS,
    ),
    _AT_ONCE,
)

VOICE_TURN = Order(
    "voice turn",
    "7.3",
    (
        *_update(turn_detection=_VAD, transcription={"model": "gpt-transcribe"}),
        *_ONE_USER_TURN,
        Anytime("conversation.item.input_audio_transcription.delta", {"item_id": Ref("user")}),
        Anytime("conversation.item.input_audio_transcription.completed", {"item_id": Ref("user")}),
        *_SPOKEN,
    ),
    Options(speed=0, transcription_delay_s=0.0),
)

PUSH_TO_TALK = Order(
    "push to talk",
    "7.4",
    (
        *_update(turn_detection=None),
        Client({"type": "input_audio_buffer.clear"}),
        Server("input_audio_buffer.cleared"),
        _append(speech(0.5)),
        Client({"type": "input_audio_buffer.commit"}),
        *_COMMITTED,
        Client({"type": "response.create"}),
        *_SPOKEN,
    ),
    _AT_ONCE,
)

FUNCTION_CALL = Order(
    "function call",
    "7.5",
    (
        *_update(turn_detection=_VAD),
        *_ONE_USER_TURN,
        Server("response.created", {"response.id": Ref("asking")}),
        Server(
            "response.output_item.added",
            {
                "response_id": Ref("asking"),
                "item.id": Ref("call"),
                "item.type": "function_call",
                "item.status": "in_progress",
                "item.call_id": Ref("call_id"),
                "item.name": "weather",
                "item.arguments": "",
            },
        ),
        Server("conversation.item.added", {"item.id": Ref("call")}),
        Server(
            "response.function_call_arguments.delta",
            {"response_id": Ref("asking"), "item_id": Ref("call"), "call_id": Ref("call_id")},
            Times.SOME,
        ),
        Server(
            "response.function_call_arguments.done",
            {"item_id": Ref("call"), "call_id": Ref("call_id"), "name": "weather", "arguments": _ARGUMENTS},
        ),
        *_item_closed("call", "completed"),
        Server(
            "response.done",
            {
                "response.id": Ref("asking"),
                "response.status": "completed",
                "response.output.0.call_id": Ref("call_id"),
                "response.output.0.arguments": _ARGUMENTS,
            },
        ),
        _RATE_LIMITS,
        Client(
            {
                "type": "conversation.item.create",
                "item": {"type": "function_call_output", "call_id": Ref("call_id"), "output": '{"degrees":11}'},
            }
        ),
        Server("conversation.item.added", {"item.call_id": Ref("call_id"), "item.type": "function_call_output"}),
        Server("conversation.item.done", {"item.call_id": Ref("call_id"), "item.status": "completed"}),
        Client({"type": "response.create"}),
        *_SPOKEN,
    ),
    _CALLING,
)

INTERRUPTED = Order(
    "interruption of an active response",
    "7.6a",
    (
        *_update(turn_detection=_VAD),
        *_ONE_USER_TURN,
        *_FIRST_SOUND,
        _append(speech(0.3)),
        Server(_DELTAS, _OF_ANSWER, Times.ANY),
        Server("input_audio_buffer.speech_started", {"item_id": Ref("interruption")}),
        *_message_closed("cancelled", "turn_detected"),
        Client(
            {
                "type": "conversation.item.truncate",
                "item_id": Ref("answer"),
                "content_index": 0,
                "audio_end_ms": 100,
            }
        ),
        Server("conversation.item.truncated", {"item_id": Ref("answer"), "content_index": 0, "audio_end_ms": 100}),
    ),
    _LONG,
)

INTERRUPTED_PLAYOUT = Order(
    "interruption of a completed response",
    "7.6b",
    (
        *_update(turn_detection=_VAD),
        *_ONE_USER_TURN,
        *_SPOKEN,
        _append(speech(0.3)),
        Server("input_audio_buffer.speech_started", {"item_id": Ref("interruption")}),
        Client(
            {
                "type": "conversation.item.truncate",
                "item_id": Ref("answer"),
                "content_index": 0,
                "audio_end_ms": 700,
            }
        ),
        Server("conversation.item.truncated", {"item_id": Ref("answer"), "audio_end_ms": 700}),
    ),
    _AT_ONCE,
)

INTERRUPTED_BY_HAND = Order(
    "interruption by the client",
    "7.6c",
    (
        *_update(turn_detection=None),
        Client({"type": "response.create"}),
        *_FIRST_SOUND,
        Client(
            {
                "type": "conversation.item.truncate",
                "item_id": Ref("answer"),
                "content_index": 0,
                "audio_end_ms": 100,
            }
        ),
        Client({"type": "response.cancel"}),
        Server(_DELTAS, _OF_ANSWER, Times.ANY),
        Server("conversation.item.truncated", {"item_id": Ref("answer"), "audio_end_ms": 100}),
        Server(_DELTAS, _OF_ANSWER, Times.ANY),
        *_message_closed("cancelled", "client_cancelled"),
    ),
    _LONG,
)

CANCEL = Order(
    "cancel",
    "7.7a",
    (
        *_update(turn_detection=None),
        Client({"type": "response.create"}),
        *_FIRST_SOUND,
        Client({"type": "response.cancel", "response_id": Ref("response")}),
        Server(_DELTAS, _OF_ANSWER, Times.ANY),
        *_message_closed("cancelled", "client_cancelled"),
    ),
    _LONG,
)

CANCEL_NOTHING = Order(
    "cancel without a response",
    "7.7b",
    (
        Server("session.created"),
        Client({"type": "response.cancel", "event_id": "cancel_1"}),
        Server("error", {"error.code": "response_cancel_not_active", "error.event_id": "cancel_1"}),
    ),
    _AT_ONCE,
)

IDLE_TIMEOUT = Order(
    "idle timeout",
    "7.8",
    (
        *_update(turn_detection={**_VAD, "idle_timeout_ms": 50}),
        Client({"type": "response.create"}),
        *_SPOKEN,
        Server("input_audio_buffer.timeout_triggered", {"item_id": Ref("user")}),
        *_COMMITTED,
        *_SPOKEN_ANEW,
    ),
    _SHORT,
)

ORDERS: tuple[Order, ...] = (
    CONNECT,
    TEXT_TURN,
    VOICE_TURN,
    PUSH_TO_TALK,
    FUNCTION_CALL,
    INTERRUPTED,
    INTERRUPTED_PLAYOUT,
    INTERRUPTED_BY_HAND,
    CANCEL,
    CANCEL_NOTHING,
    IDLE_TIMEOUT,
)
