"""PURE. The rest of an answer that broke off, and what a client that speaks the model's protocol has asked meanwhile.

It was told that the answer is over, and may ask for the next one while nobody is there. The model, which is saying the rest
by then, would refuse that: so the rest gives way, and what the client asks for waits for that.
"""

from __future__ import annotations

from collections.abc import Iterable

from realtime_bridge.answering import Answering, State
from realtime_bridge.effects import Effect


class Rest:
    """Of one upstream socket."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._asked_as: str | None = None
        self._response: str | None = None
        self._waiting: list[Effect] = []

    def asked(self) -> None:
        """The model has just been asked for it, if for anything."""
        self._asked_as = self._answering.asked_as

    def begins(self, response: str) -> None:
        """The model begins with this answer; call it before `Answering.created`."""
        if self._asked_as is not None and self._answering.asked_as == self._asked_as:
            self._response = response

    @property
    def is_under_way(self) -> bool:
        """Asked for, or being said."""
        if self._answering.asked_as is not None:
            return self._answering.asked_as == self._asked_as
        return self._response is not None and self._answering.response == self._response

    def give_way(self, asked: Iterable[Effect]) -> list[Effect]:
        """To what the client asks for: that is for `given_way`."""
        self._waiting += asked
        return self._answering.interrupt() if self._answering.state is not State.CANCELLED else []

    def given_way(self) -> list[Effect]:
        """What the client has asked for, as soon as the rest is over."""
        if not self._waiting or self._answering.is_busy:
            return []
        waiting, self._waiting = self._waiting, []
        return waiting
