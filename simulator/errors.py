"""What a client can do wrong. Everything here is the client's fault, is answered by one `error` event, and changes nothing.

    Refused
    ├── about the frame       NotJson · NotAnObject · NotText · UnknownType
    ├── about a parameter     MissingParameter · UnknownParameter · InvalidType · InvalidValue · BelowMinimum · AboveMaximum
    │                         TooLong · InvalidBase64
    ├── about the session     CannotUpdateVoice
    ├── about the audio       CommitEmpty
    ├── about items           UnknownItem · UnknownPreviousItem · UnknownCall · NotTruncatable
    └── about responses       AlreadyActive · NotActive

The codes are those of the OpenAI Realtime reference; where it tells none, the code is null or the nearest one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from simulator.wire import Json, Object


class Refused(Exception):
    """A client event that was not carried out."""

    type: ClassVar[str] = "invalid_request_error"
    code: str | None = None

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def event(self, event_id: str | None) -> Object:
        """The `error` event, without an id of its own; `event_id` is that of the refused client event."""
        return {
            "type": "error",
            "error": {
                "type": self.type,
                "code": self.code,
                "message": self.message,
                "param": self.param,
                "event_id": event_id,
            },
        }


class NotJson(Refused):
    code = "invalid_json"

    def __init__(self, detail: str) -> None:
        super().__init__(f"Failed to parse the frame as JSON: {detail}")


class NotAnObject(Refused):
    code = "invalid_event"

    def __init__(self, value: Json) -> None:
        super().__init__(f"An event must be a JSON object, but got {json_name(value)} instead.")


class NotText(Refused):
    code = "invalid_event"

    def __init__(self) -> None:
        super().__init__("Events must be sent as text frames, but got a binary frame.")


class UnknownType(Refused):
    code = "invalid_event"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"Invalid value: '{name}'. Supported values are: {_quoted(known)}.", "type")


class MissingParameter(Refused):
    code = "missing_required_parameter"

    def __init__(self, param: str) -> None:
        super().__init__(f"Missing required parameter: '{param}'.", param)


class UnknownParameter(Refused):
    code = "unknown_parameter"

    def __init__(self, param: str) -> None:
        super().__init__(f"Unknown parameter: '{param}'.", param)


class InvalidType(Refused):
    code = "invalid_type"

    def __init__(self, param: str, expected: str, value: Json) -> None:
        super().__init__(f"Invalid type for '{param}': expected {expected}, but got {json_name(value)} instead.", param)


class InvalidValue(Refused):
    code = "invalid_value"

    @classmethod
    def choice(cls, param: str, value: Json, choices: Iterable[str]) -> InvalidValue:
        return cls(f"Invalid value: '{value}'. Supported values are: {_quoted(choices)}.", param)


class BelowMinimum(Refused):
    def __init__(self, param: str, value: float, low: float) -> None:
        self.code = f"{_number_name(value)}_below_min_value"
        super().__init__(f"Invalid '{param}': expected a value >= {low:g}, but got {value:g} instead.", param)


class AboveMaximum(Refused):
    def __init__(self, param: str, value: float, high: float) -> None:
        self.code = f"{_number_name(value)}_above_max_value"
        super().__init__(f"Invalid '{param}': expected a value <= {high:g}, but got {value:g} instead.", param)


class TooLong(Refused):
    def __init__(self, param: str, kind: str, length: int, limit: int) -> None:
        self.code = f"{kind}_above_max_length"
        super().__init__(f"Invalid '{param}': expected at most {limit} in length, but got {length}.", param)


class InvalidBase64(InvalidValue):
    def __init__(self, param: str) -> None:
        super().__init__(f"Invalid '{param}': expected standard base64 with padding.", param)


class CannotUpdateVoice(Refused):
    code = "cannot_update_voice"

    def __init__(self, param: str) -> None:
        super().__init__("Cannot update a conversation's voice if assistant audio is present.", param)


class CommitEmpty(Refused):
    code = "input_audio_buffer_commit_empty"

    def __init__(self, held_ms: float) -> None:
        super().__init__(
            "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
            f"but buffer only has {held_ms:.2f}ms of audio."
        )


class UnknownItem(Refused):
    def __init__(self, verb: str, item_id: str) -> None:
        self.code = f"item_{verb}_invalid_item_id"
        super().__init__(f"Error {verb[:-1]}ing item: the item with id '{item_id}' does not exist.", "item_id")


class UnknownPreviousItem(Refused):
    code = "item_not_found"

    def __init__(self, item_id: str) -> None:
        super().__init__(f"The previous item with id '{item_id}' does not exist.", "previous_item_id")


class UnknownCall(Refused):
    code = "invalid_tool_call_id"

    def __init__(self, call_id: str) -> None:
        super().__init__(f"Tool call ID '{call_id}' not found in conversation.", "item.call_id")


class NotTruncatable(Refused):
    code = "unsupported_content_type"

    def __init__(self) -> None:
        super().__init__("Only model output audio messages can be truncated.", "item_id")


class AlreadyActive(Refused):
    code = "conversation_already_has_active_response"

    def __init__(self, response_id: str) -> None:
        super().__init__(
            f"Conversation already has an active response in progress: {response_id}. "
            "Wait until the response is finished before creating a new one."
        )


class NotActive(Refused):
    code = "response_cancel_not_active"

    def __init__(self) -> None:
        super().__init__("Cancellation failed: no active response found.")


def json_name(value: Json) -> str:
    """A value's type as a sentence names it."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a decimal"
        case str():
            return "a string"
        case list():
            return "an array"
        case dict():
            return "an object"


def _number_name(value: float) -> str:
    return "integer" if isinstance(value, int) else "decimal"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
