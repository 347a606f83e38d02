"""PURE. One answer at a time: asked for, created, cancelled, done.

```
            want                created
  IDLE ───────────▶ REQUESTED ───────────▶ ACTIVE
   ▲  ▲                 │ interrupt           │ interrupt (we cancel, or the model has heard the user itself)
   │  │  done           ▼                     ▼
   │  └───────────── UNWANTED ──created──▶ CANCELLED ──done──▶ IDLE
   └───────────────────────────────────────── done
```
The model refuses a second answer while one is active; a wish that comes too early is kept, and asked for when the first is
done.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from realtime_bridge.client_events import ResponseCancel, ResponseCreate
from realtime_bridge.effects import Effect, Send
from realtime_bridge.spoken import Position

ANSWER_WITHIN_S = 30.0
"""From asking to `response.created`. Past it the person is told."""


class _Wish(NamedTuple):
    create: ResponseCreate
    about: Position
    """up to where it answers"""
    again: bool
    """when another answer is active, ask once more after it"""


class State(Enum):
    IDLE = auto()
    REQUESTED = auto()
    """asked for; the model has not said that it began"""
    UNWANTED = auto()
    """asked for, and interrupted before it began: cancelled as soon as its id is known"""
    ACTIVE = auto()
    CANCELLED = auto()
    """told to stop; its last events are still to come"""


class Answering:
    """The state of the default conversation's answer."""

    def __init__(self) -> None:
        self.state = State.IDLE
        self.response: str | None = None
        """id of the active one"""
        self.deadline: float | None = None
        """when a requested answer is overdue"""
        self._wanted: _Wish | None = None
        self._latest: _Wish | None = None
        """what was asked for last"""
        self._about: dict[str, Position] = {}
        """up to where each answer that is not done answers"""
        self._void: set[str] = set()
        self._asked = 0
        self._held = False
        """nothing is asked for until `release`"""

    def want(
        self,
        now: float,
        about: Position,
        options: dict[str, object] | None = None,
        *,
        again: bool = True,
        waits: bool = False,
    ) -> list[Effect]:
        """Ask for an answer to all up to `about`, now or as soon as the active one is done. Several wishes are one.

        Not `again`: when the model refuses, because it has begun another one by itself, whoever asked sees to it.
        `waits`: another one is about to begin, which somebody else has asked for.
        """
        self._asked += 1
        wish = _Wish(ResponseCreate(response=options, event_id=f"create_{self._asked}"), about, again)
        if self.state is State.IDLE and not (waits or self._held):
            return self._ask(wish, now)
        self._wanted = wish
        return []

    def hold(self) -> None:
        """Ask for nothing more until `release`."""
        self._held = True

    def release(self, now: float) -> list[Effect]:
        """Ask for what was wanted meanwhile."""
        self._held = False
        return self._ask(self._wanted, now) if self.state is State.IDLE and self._wanted is not None else []

    @property
    def is_busy(self) -> bool:
        """Whether an answer is generated, asked for, or about to be."""
        return self.state is not State.IDLE or self._wanted is not None

    @property
    def asks_at_once(self) -> bool:
        """Whether what is wanted now is asked for now, and takes no other wish's place."""
        return not (self.is_busy or self._held)

    def _ask(self, wish: _Wish, now: float) -> list[Effect]:
        self.state, self._latest, self._wanted = State.REQUESTED, wish, None
        self.deadline = now + ANSWER_WITHIN_S
        return [Send(wish.create)]

    def created(self, response: str, about: Position) -> list[Effect]:
        """The model has begun, asked by us, or by its own VAD: then it answers all up to `about`."""
        unwanted = self.state is State.UNWANTED
        asked = self.asked_as is not None
        self._about[response] = self._latest.about if asked and self._latest is not None else about
        self.state, self.response, self.deadline = State.ACTIVE, response, None
        return self._cancel() if unwanted else []

    @property
    def asked_as(self) -> str | None:
        """The name of the `response.create` that is under way: the model has neither begun nor refused."""
        is_under_way = self.state in (State.REQUESTED, State.UNWANTED) and self._latest is not None
        return self._latest.create.event_id if is_under_way and self._latest is not None else None

    def interrupt(self, *, by_model: bool = False) -> list[Effect]:
        """The answer is not wanted any more. `by_model`: the model has noticed by itself and stops without being told."""
        self._wanted = None
        if self.state is State.REQUESTED:
            self.state = State.UNWANTED
        elif self.state is State.ACTIVE and self.response is not None:
            cancel = self._cancel()
            return [] if by_model else cancel
        return []

    def _cancel(self) -> list[Effect]:
        assert self.response is not None
        self.state = State.CANCELLED
        self._void.add(self.response)
        return [Send(ResponseCancel(response_id=self.response))]

    def answers_to(self, response: str) -> Position | None:
        """Up to where this answer answers; None when it has not begun, or is done."""
        return self._about.get(response)

    def about(self, response: str) -> Position | None:
        """Up to where this answer answers, once: call it when the answer is done."""
        return self._about.pop(response, None)

    def done(self, response: str, now: float) -> list[Effect]:
        """The model has said its last word about this answer (which it may never have announced)."""
        self._void.discard(response)
        if self.response not in (None, response):
            return []
        self.state, self.response, self.deadline = State.IDLE, None, None
        return self._ask(self._wanted, now) if self._wanted is not None and not self._held else []

    def refused(self, event_id: str | None, *, busy: bool) -> bool:
        """A `response.create` of ours was refused. `busy`: another answer is active; ours is asked for again after it.

        Returns whether the refusal was about an answer of ours at all.
        """
        latest = self._latest
        if self.state not in (State.REQUESTED, State.UNWANTED) or latest is None:
            return False
        if event_id not in (None, latest.create.event_id):
            return False
        if busy and latest.again and self._wanted is None and self.state is State.REQUESTED:
            self._wanted = latest
        self.state, self.deadline = State.ACTIVE if busy else State.IDLE, None
        return True

    def overdue(self, now: float) -> bool:
        """Whether a requested answer did not begin in time; then it counts as not asked for."""
        if self.deadline is None or now < self.deadline:
            return False
        self.state, self.deadline = State.IDLE, None
        return True

    def is_void(self, response: str) -> bool:
        """Whether what this answer still says is not to be heard."""
        return response in self._void
