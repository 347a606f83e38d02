"""PURE. A text frame of JSON whose `type` names the message: read, or answered with the sentence that helps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec

from gateway.errors import InvalidMessage, UnknownType

_Message = TypeVar("_Message")
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_string_decoder = msgspec.json.Decoder(str)


class Reader(Generic[_Message]):
    """The messages of one door: how they are decoded, and what each of them looks like, the plainest under `example`."""

    def __init__(self, decoder: msgspec.json.Decoder[_Message], looks: Mapping[str, str], example: str) -> None:
        self._decoder = decoder
        self._looks = looks
        self._example = looks[example]

    def read(self, text: bytes) -> _Message:
        """One text frame. Raises InvalidMessage or UnknownType, which say what to send instead."""
        try:
            return self._decoder.decode(text)
        except msgspec.ValidationError as error:
            raise self._explain(text, error) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _no_json(error) from None
        except RecursionError:
            raise InvalidMessage("This JSON is nested too deeply. Send one flat JSON object in each text frame.") from None

    def _explain(self, text: bytes, invalid: msgspec.ValidationError) -> InvalidMessage | UnknownType:
        """What is wrong with JSON that is no message of ours."""
        try:
            fields = _fields_decoder.decode(text)
        except msgspec.ValidationError:
            return InvalidMessage(f"This is no JSON object. Send an object, for example {self._example}.")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return _no_json(error)
        try:
            named = _string_decoder.decode(fields.get("type", b"null"))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return InvalidMessage(f'The message needs a "type", one of these: {", ".join(self._looks)}.')
        if named not in self._looks:
            return UnknownType(named, tuple(self._looks))
        return InvalidMessage(f'The "{named}" message is not right: {invalid}. Send {self._looks[named]}.')


def _no_json(error: Exception) -> InvalidMessage:
    return InvalidMessage(f"This is not JSON ({error}). Send one JSON object in each text frame.")
