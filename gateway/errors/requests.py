"""What a request carries, and how it comes."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.errors.kinds import RequestRefused
from streams.sources import MAX_RATE, MIN_RATE, RAW


class NeedsWebSocket(RequestRefused):
    """This is a WebSocket: open it with a WebSocket client, at ws:// in place of http://, or wss:// in place of https://."""

    code = "needs_websocket"
    status = 426

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Upgrade": "websocket", "Connection": "Upgrade"}


class BodyTooLarge(RequestRefused):
    """`allowed` is in bytes."""

    code = "body_too_large"
    status = 413

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        super().__init__(f"The request is too large: {allowed} bytes are allowed. Send less at a time.")


class StalledBody(RequestRefused):
    """The request did not come to its end in time. Please send it again."""

    code = "stalled_body"
    status = 408
    recoverable = True


class CodedBody(RequestRefused):
    """The request has a Content-Encoding, which is not taken here: send the bytes as they are."""

    code = "coded_body"
    status = 415


class BrokenBody(RequestRefused):
    """The request broke off before its end. Please send it again."""

    code = "broken_body"
    recoverable = True


class InvalidRequest(RequestRefused):
    """This request cannot be read."""

    code = "invalid_request"


class EmptyUpload(RequestRefused):
    """empty audio data"""

    code = "empty_upload"


class NoEvents(RequestRefused):
    """The body is neither an event nor an array of events: send JSON, an object or an array of objects."""

    code = "no_events"


class TooManyEvents(RequestRefused):
    """`allowed` is how many events one request may carry."""

    code = "too_many_events"
    status = 413

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        super().__init__(f"There are too many events in the request: {allowed} are allowed. Send fewer at a time.")


class UnknownInput(RequestRefused):
    """An input format that there is not."""

    code = "unknown_input"

    def __init__(self, named: str) -> None:
        shown = named if len(named) <= 40 else named[:40] + "…"
        super().__init__(
            f'There is no input "{shown}". Say "pcm16", "stream" (WebM, Ogg, fragmented MP4, ADTS or MP3), "opus" (a raw '
            f"packet a chunk), or {', '.join(RAW)} with its sample rate ({MIN_RATE} to {MAX_RATE}) and channels."
        )


class InvalidAddress(RequestRefused):
    """Something in the address is missing, or wrong."""

    code = "invalid_address"
