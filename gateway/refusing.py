"""What the requests of a door for programs (the API, the operators) are refused with, in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import NoSuchSession, NotNow, RequestRefused
from streams.errors import Over, StreamError


@contextmanager
def refusing(door: str, gone: str) -> Iterator[None]:
    """What is refused is refused at this door; what goes wrong in Redis is an answer. `gone`: the sentence about a session
    that is over."""
    try:
        yield
    except Over:
        refused: RequestRefused = NoSuchSession(gone)
        refused.door = door
        raise refused from None
    except StreamError as error:
        refused = NotNow()
        refused.door = door
        raise refused from error
    except RequestRefused as error:
        error.door = door
        raise error from None
