"""What can go wrong between us and the model, and whose fault it is.

BridgeError
├── MalformedServerEvent      a frame that does not read as an event     fault: the model's server; that event is lost,
│                                                                         the session goes on
└── UpstreamError             there is no socket to the model             each has a `code`, and says `retryable`
    ├── UpstreamRefused       it said no, and would say no again          fault: the operator (key, model, address); final
    ├── UpstreamUnavailable   it did not answer, or has no room now       fault: network or server; recoverable
    └── UpstreamClosed        it hung up in mid-session                   recoverable unless the close code says otherwise

Each text is a sentence for a person. No text holds a key, and none holds what was spoken.
"""

from __future__ import annotations

from runtime.errors import ParleyError


class BridgeError(ParleyError):
    """The root of all that can go wrong between us and the model."""


class MalformedServerEvent(BridgeError):
    """A frame that is no JSON object, has no type, or is of a known type whose fields do not read."""

    def __init__(self, why: str, type: str | None = None) -> None:  # noqa: A002 (the API's own name)
        self.why, self.type = why, type
        super().__init__(f"The model's server sent an event that does not read{f' ({type})' if type else ''}: {why}.")


class UpstreamError(BridgeError):
    """There is no socket to the model (any more)."""

    retryable: bool
    """whether the same dial may work a moment later"""
    retry_after_s: float | None = None
    """seconds the server asked us to wait, when it did"""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        """a word for machines: upstream's own code where it gave one, else `http_503`, `close_1011`, `dns`, `timeout`, …"""
        self.message = message
        super().__init__(message)


class UpstreamRefused(UpstreamError):
    """The server answered, and the answer will be the same next time."""

    retryable = False


class UpstreamUnavailable(UpstreamError):
    """The server was not reached, did not answer, or has no room at this moment."""

    retryable = True

    def __init__(self, code: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(code, message)
        self.retry_after_s = retry_after_s


class UpstreamClosed(UpstreamError):
    """The socket closed though we had not asked for it."""

    def __init__(self, close_code: int, reason: str, *, retryable: bool) -> None:
        self.close_code, self.reason, self.retryable = close_code, reason, retryable
        super().__init__(
            f"close_{close_code}",
            f"The model's server closed the connection (code {close_code}{f', {reason}' if reason else ''}).",
        )
