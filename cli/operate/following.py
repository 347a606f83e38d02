"""What happens in a session, whatever gateway tells it: a line that breaks is dialled again, and nothing is told twice.

What happened while there was no line is not told.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from cli.errors import LineBroke, OperateError, Refused
from cli.operate.api import Object, Operator
from cli.operate.redial import GIVE_UP_S, Redial

_GONE = 404
_NOT_NOW = frozenset({429, 502, 503, 504})
"""A gateway that stops, or is full of operators; a load balancer that has none at the moment."""


async def following(
    asking: Operator, sid: str, notice: Callable[[str], None], *, audio: bool = False, words: bool = False
) -> AsyncIterator[Object]:
    """What happens from now on, until it is over. `notice`: of a line that broke, and of one that is there again.

    Raises OperateError: at once when the first line cannot be had, later when no other can be for GIVE_UP_S.
    """
    now = asyncio.get_running_loop().time
    seen = _Seen()
    redial: Redial | None = None
    while True:
        has_line = False
        try:
            async with aclosing(asking.events(sid, audio=audio, words=words)) as events:
                async for entry in events:
                    if entry is None:  # there is a line
                        has_line = True
                        if redial is None:
                            redial = Redial(now())
                        else:
                            redial.answered(now())
                            notice("The line is there again. What happened meanwhile is not shown.")
                    elif seen.is_new(entry):
                        yield entry
            return
        except LineBroke as error:
            broke: OperateError = error
        except Refused as error:
            if redial is not None and error.status == _GONE:
                notice("The session has ended meanwhile.")
                return
            if error.status not in _NOT_NOW:
                raise
            broke = error
        if redial is None:
            raise broke
        wait_s = redial.broke(now(), random.random(), had_line=has_line)
        if wait_s is None:
            raise OperateError(f"{broke} It was dialled again for {GIVE_UP_S:g} s.") from broke
        if has_line:
            notice(f"{broke} It is dialled again.")
        await asyncio.sleep(wait_s)


class _Seen:
    """Up to where each side was told: a new line begins with the last entry of what the model said."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, ...]] = {}

    def is_new(self, entry: Object) -> bool:
        entry_id = tuple(int(half) for half in str(entry["id"]).split("-"))
        if entry_id <= self._last.get(entry["side"], (-1,)):
            return False
        self._last[entry["side"]] = entry_id
        return True
