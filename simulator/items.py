"""PURE. Conversation items: which ones a client may create, by type and role, and how an item looks on the wire."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.audio_format import AudioFormat
from simulator.schema import Flag, ListOf, Nullable, Record, Shape, Tagged, Text
from simulator.wire import Object, audio_bytes, audio_text, members, optional_text, text

_ID_LENGTH = 32
_STATUS = Text(("completed", "incomplete", "in_progress"))


def _item(required: tuple[str, ...] = (), /, **fields: Shape) -> Record:
    common: dict[str, Shape] = {
        "id": Text(max_length=_ID_LENGTH),
        "object": Text(("realtime.item",)),
        "type": Text(),
        "status": _STATUS,
    }
    return Record({**common, **fields}, required)


def _message(**parts: Shape) -> Shape:
    return _item(("content",), role=Text(), content=ListOf(Tagged("type", parts)))


_INPUT_TEXT = Record({"type": Text(), "text": Text()}, ("text",))
_MESSAGES: dict[str, Shape] = {
    "system": _message(input_text=_INPUT_TEXT),
    "user": _message(
        input_text=_INPUT_TEXT,
        input_audio=Record({"type": Text(), "audio": Text(), "transcript": Nullable(Text())}, ("audio",)),
        input_image=Record({"type": Text(), "image_url": Text(), "detail": Text(("auto", "low", "high"))}, ("image_url",)),
    ),
    # A client may replay what the assistant said only as text; its audio is refused for the text it lacks.
    "assistant": _message(
        output_text=Record({"type": Text(), "text": Text()}, ("text",)),
        output_audio=Record({"type": Text(), "text": Text(), "audio": Text(), "transcript": Text()}, ("text",)),
    ),
}
_ITEMS: dict[str, Shape] = {
    "message": Tagged("role", _MESSAGES),
    "function_call": _item(("name", "arguments"), name=Text(), arguments=Text(), call_id=Text(max_length=_ID_LENGTH)),
    "function_call_output": _item(("call_id", "output"), call_id=Text(max_length=_ID_LENGTH), output=Text()),
    "mcp_approval_response": Record(
        {
            "id": Text(max_length=_ID_LENGTH),
            "type": Text(),
            "approval_request_id": Text(),
            "approve": Flag(),
            "reason": Nullable(Text()),
        },
        ("approval_request_id", "approve"),
    ),
}
CREATED_ITEM: Shape = Tagged("type", _ITEMS)
"""What `conversation.item.create` accepts."""
INPUT_ITEM: Shape = Tagged("type", {**_ITEMS, "item_reference": Record({"type": Text(), "id": Text()}, ("id",))})
"""What the `input` of a `response.create` accepts."""


@dataclass(slots=True)
class Sound:
    """The audio of one content part: its length always, its bytes as long as memory allows."""

    format: AudioFormat
    length: int = 0
    pieces: list[bytes] | None = field(default_factory=list)
    """None once forgotten"""

    def add(self, audio: bytes) -> None:
        self.length += len(audio)
        if self.pieces is not None:
            self.pieces.append(audio)

    def grow(self, length: int) -> None:
        """`length` more bytes that nobody keeps."""
        self.length += length
        self.pieces = None

    def cut(self, end_ms: int) -> None:
        """Keep no more than the first `end_ms`."""
        self.length = min(self.length, end_ms * self.format.bytes_per_ms)
        if self.pieces is not None:
            self.pieces = [self.audio()[: self.length]]

    def audio(self) -> bytes:
        """Empty once forgotten."""
        return b"".join(self.pieces or ())

    @property
    def ms(self) -> float:
        return self.format.ms(self.length)


@dataclass(slots=True, eq=False)
class Item:
    body: Object
    """as on the wire, but for audio bytes"""
    sound: Sound | None = None
    sound_part: int = 0
    """index of the content part the sound belongs to"""

    @property
    def id(self) -> str:
        return text(self.body, "id")

    @property
    def type(self) -> str:
        return text(self.body, "type")

    @property
    def role(self) -> str | None:
        return optional_text(self.body, "role")

    @property
    def parts(self) -> list[Object]:
        return members(self.body, "content")

    def wire(self, *, with_audio: bool = False) -> Object:
        """A snapshot; events carry items without audio, only a retrieved item has it."""
        body = dict(self.body)
        if "content" in body:
            parts = [dict(part) for part in self.parts]
            if with_audio and self.sound is not None and self.sound.length and self.sound.pieces is not None:
                parts[self.sound_part]["audio"] = audio_text(self.sound.audio())
            body["content"] = [*parts]
        return body


def from_client(record: Object, item_id: str, audio_format: AudioFormat) -> Item:
    """The item of a checked `conversation.item.create`. Raises InvalidBase64.

    Several audio parts sound one after the other.
    """
    body: Object = {"id": item_id, "object": "realtime.item", **record, "status": "completed"}
    body["id"] = item_id
    if record["type"] != "message":
        return Item(body)
    parts = [dict(part) for part in members(record, "content")]
    sound: Sound | None = None
    sound_part = 0
    for index, part in enumerate(parts):
        if part["type"] == "input_audio":
            audio = audio_bytes(text(part, "audio"), f"item.content[{index}].audio")
            del part["audio"]
            part.setdefault("transcript", None)
            if sound is None:
                sound, sound_part = Sound(audio_format), index
            sound.add(audio[: audio_format.whole(len(audio))])
    body["content"] = [*parts]
    return Item(body, sound, sound_part)


def spoken_by_user(item_id: str, audio: bytes, audio_format: AudioFormat) -> Item:
    """The item made of committed microphone audio; its transcript comes by events alone."""
    sound = Sound(audio_format)
    sound.add(audio)
    return Item(
        {
            "id": item_id,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        },
        sound,
    )
