"""What a client says over a connection that goes on."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors.kinds import Refused


class InvalidMessage(Refused):
    """This is not a message of this connection."""

    code = "invalid_message"
    fault = "client"


class UnknownType(Refused):
    """`named` is what the client called it."""

    code = "unknown_type"
    fault = "client"

    def __init__(self, named: str, known: Sequence[str]) -> None:
        shown = named if len(named) <= 40 else named[:40] + "…"
        super().__init__(f'There is no message of type "{shown}" here. Send one of these: {", ".join(known)}.')


class BinaryFrame(Refused):
    """This connection takes JSON text frames only: send audio as base64 in a message of type "audio"."""

    code = "binary_frame"
    fault = "client"


class UnknownFormat(Refused):
    """A format in the query that this door does not have."""

    code = "unknown_format"
    fault = "client"

    def __init__(self, field: str, named: str, known: Sequence[str], used: str) -> None:
        shown = named if len(named) <= 40 else named[:40] + "…"
        super().__init__(f'There is no {field} "{shown}". Use one of these: {", ".join(known)}. Without one it is {used}.')


class InvalidAudio(Refused):
    """The audio is not base64: send the whole recording in the standard alphabet, padded, without line breaks or prefix."""

    code = "invalid_audio"
    fault = "client"


class EmptyAudio(Refused):
    """The audio is empty: send a whole recording."""

    code = "empty_audio"
    fault = "client"


class TooLarge(Refused):
    """`allowed` is in bytes."""

    code = "too_large"
    fault = "client"

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        super().__init__(f"The recording is too large: {allowed / 1e6:.1f} MB are allowed. Send shorter recordings.")


class Busy(Refused):
    """Too much of what you sent is still waiting to be stored. Please send this again in a moment."""

    code = "busy"
    recoverable = True


class NotStored(Refused):
    """What you sent could not be stored, please send it again."""

    code = "not_stored"
    recoverable = True


class NoRoom(Refused):
    """The server has run out of memory, and the conversation ends. Please connect again in a minute."""

    code = "no_room"
    fault = "server"
    recoverable = True


class NoBridge(Refused):
    """Nobody is free to talk to you at the moment. What you said is kept, and answered as soon as somebody is."""

    code = "no_bridge"
    recoverable = True


class TooLate(Refused):
    """The session has ended. Please connect again."""

    code = "too_late"
    fault = "nobody"
