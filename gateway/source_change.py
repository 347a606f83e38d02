"""A client that speaks live goes over to other audio in mid-session: from here on it goes by way of a transcoder.

What it said before must be stored first, in `pcm` or in `up`. The new gen is above both, so that what the transcoder makes
of it comes behind all that.
"""

from __future__ import annotations

from gateway.backend import Backend
from gateway.route import ROLES
from streams.dispatch import hand_out
from streams.ids import SEQ_STRIDE, ZERO, next_left
from streams.producer import open_left
from streams.sessions import Session, now_ms
from streams.up import GenOpened


async def change_source(backend: Backend, session: Session, source: str, next_number: int | None) -> int:
    """The gen in which what follows is `source` (`streams.sources`). `next_number`: of a client that numbers, which goes on.

    It is never `<gen>-0`, as a session's own birth is: an `up` in which anything lies has been gone over to.
    Raises StreamError.
    """
    sessions = backend.sessions
    last = max(await sessions.last_id(session, "pcm") or ZERO, await sessions.last_id(session, "up") or ZERO)
    for role in ROLES["up"]:
        await hand_out(backend.redis, session, role)
    right = 1 if next_number is None else max(1, (next_number - 1) * SEQ_STRIDE)
    return await open_left(backend.writer, session.keys.up, GenOpened(source=source), next_left(last, now_ms()), right)
