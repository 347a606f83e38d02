"""A connection of redis-py's, whose answers are given to a callback as they arrive.

redis-py connects it, shakes hands on it and closes it. In between nobody waits for an answer in a task: reading one through
a StreamReader costs a process three times as much as the answer itself, and a process reads two for each frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError

CLOSED = "Connection closed by server."
_NOT_YET = object()


class TakenOver(asyncio.Protocol):
    """From now on all that comes over `connection` goes to `answered`: values, errors as values, and pushes.

    `lost` is called once, when there is nothing more to come. Give it back by disconnecting it: redis-py cannot read it any
    more, but it may write.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        answered: Callable[[Any], None],
        lost: Callable[[TakenOver, RedisError], None],
    ) -> None:
        self._is_lost = False
        self._answered, self._lost = answered, lost
        settings: Any = {"protocolError": InvalidResponse, "replyError": _error_of(connection), "notEnoughData": _NOT_YET}
        self._answers = hiredis.Reader(**settings)
        stream = cast(Any, connection)._writer
        self._transport: asyncio.Transport = stream.transport
        self._before = cast(asyncio.Protocol, self._transport.get_protocol())
        """redis-py's: it is told what its writer has to know"""
        self._transport.set_protocol(self)
        if early := bytes(cast(Any, connection)._reader._buffer):
            self.data_received(early)
        if self._transport.is_closing():
            self._is_over(RedisConnectionError(CLOSED))
        else:  # its reader may have paused it, when there was more than it likes to keep
            self._transport.resume_reading()

    @property
    def is_open(self) -> bool:
        """Whether somebody would get what is written."""
        return not self._is_lost and not self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """While it is open."""
        self._transport.write(data)

    def abort(self) -> None:
        """Nothing more of it is wanted; redis-py still has to disconnect it."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._answers.feed(data)
        while (answer := self._next()) is not _NOT_YET:
            self._answered(answer)

    def eof_received(self) -> None:
        """redis-py's would keep the half that is still open, and there is no use for it."""
        self._before.eof_received()
        self._is_over(RedisConnectionError(CLOSED))

    def connection_lost(self, error: Exception | None) -> None:
        self._before.connection_lost(error)
        self._is_over(RedisConnectionError(str(error) if error else CLOSED))

    def pause_writing(self) -> None:
        self._before.pause_writing()

    def resume_writing(self) -> None:
        self._before.resume_writing()

    def _next(self) -> Any:
        try:
            return self._answers.gets()
        except InvalidResponse as error:
            self._transport.abort()
            self._is_over(error)
            return _NOT_YET

    def _is_over(self, error: RedisError) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._lost(self, error)


def _error_of(connection: AbstractConnection) -> Callable[[str], Exception]:
    return cast(Callable[[str], Exception], cast(Any, connection)._parser.parse_error)
