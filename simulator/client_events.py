"""PURE. The client events of the OpenAI Realtime reference and their shapes: one table, strict to the last key."""

from __future__ import annotations

from simulator.errors import InvalidType, MissingParameter, UnknownType
from simulator.items import CREATED_ITEM, INPUT_ITEM
from simulator.schema import Anything, Flag, ListOf, MapOf, Nullable, Record, Shape, Text, Whole
from simulator.session_shapes import (
    FORMAT,
    MAX_OUTPUT_TOKENS,
    MODALITIES,
    PROMPT,
    REASONING,
    TOOL_CHOICE,
    TOOLS,
    VOICE,
)
from simulator.wire import Object

APPEND_LIMIT = 15 * 1024 * 1024
"""Characters of base64 in one append."""

RESPONSE: Shape = Record(
    {
        "instructions": Text(),
        "tools": TOOLS,
        "tool_choice": TOOL_CHOICE,
        "parallel_tool_calls": Flag(),
        "output_modalities": MODALITIES,
        "audio": Record({"output": Record({"format": FORMAT, "voice": VOICE})}),
        "max_output_tokens": MAX_OUTPUT_TOKENS,
        "reasoning": REASONING,
        "metadata": Nullable(MapOf(Text(max_length=512), max_keys=16, max_key_length=64)),
        "conversation": Text(("auto", "none")),
        "input": ListOf(INPUT_ITEM),
        "prompt": PROMPT,
    }
)

_ID = Nullable(Text(max_length=512))


def _event(required: tuple[str, ...] = (), /, **fields: Shape) -> Record:
    return Record({"type": Text(), "event_id": _ID, **fields}, required)


SHAPES: dict[str, Record] = {
    "session.update": _event(("session",), session=Anything()),  # session_config checks it, for its own errors
    "input_audio_buffer.append": _event(("audio",), audio=Text(max_length=APPEND_LIMIT)),
    "input_audio_buffer.commit": _event(),
    "input_audio_buffer.clear": _event(),
    "conversation.item.create": _event(("item",), item=CREATED_ITEM, previous_item_id=Nullable(Text())),
    "conversation.item.retrieve": _event(("item_id",), item_id=Text()),
    "conversation.item.truncate": _event(
        ("item_id", "content_index", "audio_end_ms"), item_id=Text(), content_index=Whole(0), audio_end_ms=Whole(0)
    ),
    "conversation.item.delete": _event(("item_id",), item_id=Text()),
    "response.create": _event(response=RESPONSE),
    "response.cancel": _event(response_id=Nullable(Text())),
}
"""`output_audio_buffer.clear` belongs to WebRTC and SIP, where the server owns the playout; here it is unknown."""


def check(event: Object) -> str:
    """The event's type, once the whole event is known to be well formed. Raises Refused."""
    if "type" not in event:
        raise MissingParameter("type")
    name = event["type"]
    if not isinstance(name, str):
        raise InvalidType("type", "a string", name)
    if name not in SHAPES:
        raise UnknownType(name, SHAPES)
    SHAPES[name].check(event, "")
    return name
