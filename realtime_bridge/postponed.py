"""What does not work now is done the next time: it is no reason to hang up on anybody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from runtime.logs import SessionLogger
from streams.errors import StreamUnavailable


@contextmanager
def put_off(log: SessionLogger, what: str, *errors: type[Exception]) -> Iterator[None]:
    """Within it Redis may be away, and whatever else `errors` names may happen."""
    expected: tuple[type[Exception], ...] = (StreamUnavailable, *errors)
    try:
        yield
    except expected as error:
        log.warning("could not %s: %s", what, error)
