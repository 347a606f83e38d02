"""❷ What a client says in requests of its own → `pcm` or `up`, whichever gateway they come to: answered when it is stored.

No connection stands behind such a request, so what it needs to know of the session it asks Redis. Two that overlap
never double a numbered event: the append script refuses what is there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from gateway.backend import Backend
from gateway.live_uplink import FormatChange
from gateway.replay import Numbers
from gateway.route import ROLES, stream_of
from gateway.session_formats import keep
from gateway.source_change import change_source
from streams.attach import say_ended, say_received
from streams.dispatch import hand_out
from streams.errors import Wanted
from streams.ids import EntryId
from streams.kept import UNSPOKEN
from streams.keys import new_sid
from streams.messages import End, Message
from streams.producer import Marked, Numbered, Producer
from streams.sessions import Cursor, Session

ROOM_BYTES = 256 << 10
"""Of a streamed body that wait for Redis; while there are more the body is not read."""


async def post(backend: Backend, session: Session, stored: Numbers, messages: Sequence[Message]) -> None:
    """Store what a client says that does not number. Raises StreamError."""
    if messages:
        producer = await _speaker(backend, session, stored)
        for message in messages:
            producer.append(message)
        await producer.flush()


async def post_numbered(backend: Backend, session: Session, stored: Numbers, messages: Sequence[Message]) -> None:
    """Store them under the numbers from `stored.next` on; what another request has stored meanwhile is done.

    Raises Wanted when what comes before them is not there any more, and StreamError.
    """
    if not messages:
        return
    await _known(backend, session, stored)
    first = begin = stored.next
    while True:
        producer = Producer(backend.writer, stream_of(session, stored.route), Numbered(stored.gen), first=begin)
        for message in messages[begin - first :]:
            producer.append(message)
        try:
            await producer.flush()
            return
        except Wanted as wanted:
            # What is joined here may be stored in part: then the script names the number up to which it is.
            missing = int(wanted.after) + 1
            if not begin < missing < first + len(messages):
                raise
            begin = missing


async def post_stream(
    backend: Backend,
    session: Session,
    stored: Numbers,
    pieces: AsyncIterator[Sequence[Message]],
    took: Callable[[Message], None],
) -> None:
    """Store what comes, as it comes; `took` is told of each message that is stored or will be.

    Nothing is taken while too much waits. Raises StreamError, and what `pieces` raises; what came before is stored then too.
    """
    producer: Producer | None = None
    try:
        async for piece in pieces:
            for message in piece:
                producer = producer or await _speaker(backend, session, stored)
                waiting = producer.append(message)
                took(message)
                if producer.waiting_bytes > ROOM_BYTES:
                    await waiting
    finally:
        if producer is not None:
            await producer.flush()


async def post_change(backend: Backend, session: Session, stored: Numbers, change: FormatChange) -> Numbers:
    """Make it behind all that is stored; what follows belongs there. Raises StreamError."""
    await keep(backend.redis, session, input=change.input, output=change.output)
    if change.source is None:
        return stored
    gen = await change_source(backend, session, change.source, stored.next)
    return Numbers("up", gen, stored.next, known=True)


async def post_end(backend: Backend, session: Session, stored: Numbers, reason: str) -> None:
    """End the session behind all that was said. Raises StreamError."""
    if not stored.known:  # no worker has heard of it
        await say_ended(backend.redis, session, reason)
        await backend.sessions.end(session, reason=UNSPOKEN, linger_ms=0)
        return
    producer = Producer(backend.writer, stream_of(session, stored.route), Marked(new_sid()))
    producer.append(End(reason))
    await producer.flush()


async def keep_place(backend: Backend, session: Session, cursor: Cursor, did: EntryId) -> None:
    """The client says that it has got, or heard, all up to here: kept, unless it never was, or is behind what is known.

    Raises StreamUnavailable.
    """
    said = await backend.sessions.last_id(session, "down")
    before = await backend.sessions.cursor(session, cursor)
    if said is not None and did <= said and (before is None or before < did):
        await backend.sessions.set_cursor(session, cursor, did)
    if cursor == "arrived":
        await say_received(backend.redis, session, did)


async def _speaker(backend: Backend, session: Session, stored: Numbers) -> Producer:
    await _known(backend, session, stored)
    return Producer(backend.writer, stream_of(session, stored.route), Marked(new_sid()))


async def _known(backend: Backend, session: Session, stored: Numbers) -> None:
    """Whoever finds something in the stream need not tell a worker again: it is told before anything is appended."""
    if not stored.known:
        for role in ROLES[stored.route]:
            await hand_out(backend.redis, session, role)
        await backend.sessions.renew(session)  # its client may be away, so that it was about to run out
