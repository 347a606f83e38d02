"""What goes wrong at the door is of three kinds: a request is refused, a message is, or the connection ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

Fault = Literal["client", "server", "nobody"]


class DoorError(Exception):
    """Something went wrong at the door."""

    code: ClassVar[str] = "door_error"
    fault: ClassVar[Fault] = "server"
    recoverable: ClassVar[bool] = False

    def __init__(self, sentence: str | None = None) -> None:
        super().__init__(sentence or self.__doc__)


class RequestRefused(DoorError):
    """This request was refused."""

    status: ClassVar[int] = 400
    """HTTP's"""
    fault: ClassVar[Fault] = "client"

    retry_after_s: int | None = None
    """when the same may be tried again, where that can be said"""

    door: str | None = None
    """where; None: before it came to one"""

    @property
    def headers(self) -> Mapping[str, str]:
        """What the answer carries besides."""
        return {} if self.retry_after_s is None else {"Retry-After": f"{self.retry_after_s}"}


class Refused(DoorError):
    """This message was refused."""


class ConnectionOver(DoorError):
    """The connection ends."""

    close_code: ClassVar[int | None] = 1011
    """RFC 6455's; None when there is nobody to tell, or no way"""
