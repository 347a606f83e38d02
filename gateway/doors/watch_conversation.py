"""What the watch and the phone have in common: their conversation is opened, heard and ended alike."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager

import msgspec

from gateway.admission import Caller
from gateway.backend import Backend
from gateway.connections import Connection
from gateway.doors import watch_address as address
from gateway.doors import watch_messages as wire
from gateway.doors import watch_told
from gateway.errors import ConnectionOver, InvalidAddress, InvalidMessage, NotNow, RequestRefused
from gateway.metrics import Metrics
from gateway.naming import Opened, take_session
from gateway.outbox import Frame
from gateway.output import DEFAULT, Output
from gateway.paced import Paced
from gateway.playhead import plays_s
from streams import down, turns
from streams.dispatch import is_handed_out
from streams.errors import Over, StreamUnavailable
from streams.kept import UNSPOKEN
from streams.keys import new_sid
from streams.messages import End
from streams.producer import Marked, Producer
from streams.sessions import Session

logger = logging.getLogger(__name__)

DOOR = "watch"
ANYBODY = "anonymous"
"""Whose the conversations are of callers who have not shown who they are. Their ids are UUIDs."""

REASON = "client_ended"

END_TIMEOUT_S = 5.0


@contextmanager
def refusing() -> Iterator[None]:
    """What goes wrong before a request is answered is told as this door's refusal of it."""
    try:
        yield
    except RequestRefused as error:
        error.door = DOOR
        raise
    except InvalidMessage as error:
        refused = InvalidAddress(str(error))
        refused.door = DOOR
        raise refused from error
    except StreamUnavailable as error:
        not_now = NotNow()
        not_now.door = DOOR
        raise not_now from error


async def is_there(backend: Backend, caller: Caller, conversation: str) -> bool:
    """Whether there is a session of this conversation to go on with. Raises NotNow."""
    with refusing():
        return await backend.sessions.find(caller.user_or(ANYBODY), conversation) is not None


async def take(backend: Backend, metrics: Metrics, caller: Caller, conversation: str, history: address.History) -> Opened:
    """The session of this conversation, or a new one, which begins with the history. Raises StreamUnavailable."""
    user, agreed = caller.user_or(ANYBODY), caller.recorded_by
    asked = turns.Opened(user=user, door=DOOR, turn_mode="server_vad", history=history.lines, recorded_by=agreed)
    opened = await take_session(backend, asked, conversation)
    if not opened.resumed:
        metrics.sessions.labels(DOOR).inc()
        if history.trouble is not None:
            logger.warning("of a client's history something is left out: %s", history.trouble)
    return opened


async def end(backend: Backend, session: Session) -> None:
    """Have the model answer what was said, and end the conversation; at once, when nothing was said.

    It may be asked for any number of times. Raises StreamUnavailable, also when it was not stored in END_TIMEOUT_S.
    """
    if not await is_handed_out(backend.redis, session, "bridge"):
        await backend.sessions.end(session, reason=UNSPOKEN, linger_ms=0)
        return
    producer = Producer(backend.writer, session.keys.pcm, Marked(new_sid()))
    try:
        producer.append(End(REASON, after_answer=True))
        async with asyncio.timeout(END_TIMEOUT_S):
            await producer.flush()
    except Over:
        pass  # it has ended meanwhile
    except TimeoutError:
        raise StreamUnavailable(f"the end could not be stored in {END_TIMEOUT_S:g} s") from None


async def downlink(
    connection: Connection,
    frame: Callable[[wire.ToClient, str | None], Frame],
    output: Output = DEFAULT,
    paced: Paced | None = None,
) -> None:
    """Say all that the session says, in order, until it ends. `frame`: of what is told, and of the item it is audio of.

    `output`: in what it is heard. `paced`: of a client that cannot take back what it has.
    """
    sound = watch_told.Sound(output)

    def void(item: str) -> None:
        sound.told(down.Interrupted(item, 0, 0))
        if paced is not None:
            paced.void(item)

    connection.on_void, connection.stopping.flushes = void, paced is None
    try:
        if output.codec is not None:
            sound.wrapping.before = await connection.listen(output.codec, output.coding)
        async with aclosing(connection.downlink.entries()) as entries:
            async for entry in entries:
                for audio, item in sound.told(entry.message):
                    if paced is None:
                        await connection.outbox.put(frame(audio, item))
                    else:
                        await paced.put(frame(audio, item), plays_s(entry.message, output.output_rate))
                for told in _told(connection, entry.message):
                    await connection.outbox.put(frame(told, None))
                connection.said(entry.id)
    except ConnectionOver as over:
        connection.outbox.finish(over)  # what was said last is sent before the goodbye


def _told(connection: Connection, message: down.DownMessage) -> list[wire.ToClient]:
    try:
        told = watch_told.told(message)
    except msgspec.DecodeError as error:
        connection.log.error("an event of the model's is passed over: %s", error)
        return []
    if isinstance(message, down.Interrupted):
        connection.void(message.item)
    for one in told:
        if isinstance(one, wire.Error):
            connection.metrics.errors.labels(DOOR, "upstream").inc()
    return told
