"""How a door takes the JSON messages of a client that speaks in text frames."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import TypeVar

from gateway.connections import Connection
from gateway.errors import BinaryFrame, ClientLeft, InvalidMessage, Refused, UnknownType
from gateway.transports.websocket import TextSocket

Message = TypeVar("Message")


async def take_texts(
    socket: TextSocket,
    connection: Connection,
    decode: Callable[[bytes], Message],
    kind: Callable[[Message], str],
    take: Callable[[Message], None],
) -> None:
    """Read all that the client says until it leaves. What is wrong with a message is told, and the next one works.

    `decode` and `take` raise Refused; `kind` is the message's name among the metrics. Raises ClientLeft.
    """
    received, door = connection.metrics.messages, connection.door
    async with aclosing(socket.received()) as texts:
        async for text in texts:
            try:
                if text is None:
                    raise BinaryFrame
                message = decode(text)
                received.labels(door, "received", kind(message)).inc()
                take(message)
            except Refused as error:
                if isinstance(error, BinaryFrame | InvalidMessage | UnknownType):
                    received.labels(door, "received", "refused").inc()
                connection.trouble(error)
    raise ClientLeft
