"""PURE. A language for event orders: who says what, and what must follow, as data that a test can run.

    Order    a name, the simulator options it needs, and its steps, from the first frame of a session on
    Client   the client sends this event, once all Server steps above were seen
    Server   the server sends an event of (one of) these types with these fields: once, or more often
    Anytime  the server also sends this, at any time after this place
    Ref      stands for a value not known beforehand, such as an id: bound where it is first seen, equal from then on

An order can be played and checked in two ways:

    run = order.run()                         a live server, or a session in memory
    while not run.is_complete:
        for event in run.to_send(): send(event)
        run.feed(receive())                   raises OutOfOrder, with a sentence

    order.matches(server_events)              a log: all server events of a session, as they came

Fields are dotted paths, list indices included: `response.output.0.type`. Fields not named are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from simulator.options import Options
from simulator.wire import Json, Object


class OutOfOrder(AssertionError):
    """An event that is not the next one in the order."""


class Times(Enum):
    ONCE = "once"
    SOME = "once or more often"
    ANY = "not at all, once or more often"


@dataclass(frozen=True, slots=True)
class Ref:
    name: str


Fields: TypeAlias = "Mapping[str, Json | Ref]"
Expected: TypeAlias = "Json | Ref | Mapping[str, Expected] | tuple[Expected, ...]"


@dataclass(frozen=True, slots=True)
class Client:
    event: Mapping[str, Expected]
    """as it goes on the wire, but for Refs inside"""


@dataclass(frozen=True, slots=True)
class Server:
    types: str | tuple[str, ...]
    """the event's type; several when they come in any mixture"""
    fields: Fields = field(default_factory=dict)
    times: Times = Times.ONCE

    def is_of_type(self, event: Object) -> bool:
        return event["type"] in ((self.types,) if isinstance(self.types, str) else self.types)


@dataclass(frozen=True, slots=True)
class Anytime:
    type: str
    fields: Fields = field(default_factory=dict)
    is_required: bool = True


Step: TypeAlias = Client | Server | Anytime


@dataclass(frozen=True)
class Order:
    name: str
    section: str
    """number in the list on top of `orders.py`"""
    steps: tuple[Step, ...]
    options: Options = field(default_factory=Options)
    """of a simulator that keeps this order"""

    def run(self) -> Run:
        return Run(self)

    def matches(self, events: Iterable[Object]) -> bool:
        """Whether these server events, all of one session, are this order and nothing else."""
        run = self.run()
        try:
            for event in events:
                run.to_send()
                run.feed(event)
        except OutOfOrder:
            return False
        return run.is_complete


class Run:
    """One walk through an order."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._rest = list(order.steps)
        self._seen = 0
        """how often the first step of the rest was seen"""
        self._anytime: list[Anytime] = []
        self._bound: dict[str, Json] = {}

    @property
    def is_complete(self) -> bool:
        rest = self._rest[1:] if self._rest and self._is_satisfied(self._rest[0]) else self._rest
        skippable = all(isinstance(step, Server) and step.times is Times.ANY for step in rest)
        return skippable and not any(each.is_required for each in self._anytime)

    def to_send(self) -> list[Object]:
        """The client's events that are due now; each is returned once."""
        events = []
        self._pass_satisfied_before_client()
        while self._rest and isinstance(step := self._rest[0], Client | Anytime):
            self._next()
            if isinstance(step, Client):
                events.append({key: self._resolve(value) for key, value in step.event.items()})
            else:
                self._anytime.append(step)
        return events

    def feed(self, event: Object) -> None:
        """The server sent this. Raises OutOfOrder."""
        if self._take_anytime(event):
            return
        while self._rest:
            step = self._rest[0]
            if isinstance(step, Anytime):
                self._anytime.append(step)
            elif isinstance(step, Client):
                raise OutOfOrder(f"{self._order.name}: {event['type']} came before the client sent {step.event['type']}.")
            elif step.is_of_type(event):
                self._expect(step.fields, event)
                self._seen += 1
                self._pass_once()
                return
            elif not self._is_satisfied(step):
                raise OutOfOrder(f"{self._order.name}: expected {step.types}, but {event['type']} came: {event}")
            self._next()
            if self._take_anytime(event):
                return
        raise OutOfOrder(f"{self._order.name}: nothing more was expected, but {event['type']} came: {event}")

    def _pass_once(self) -> None:
        """Go on from a step that is over, and note what may come at any time from here."""
        step = self._rest[0]
        if isinstance(step, Server) and step.times is Times.ONCE:
            self._next()
        while self._rest and isinstance(step := self._rest[0], Anytime):
            self._anytime.append(step)
            self._next()

    def _pass_satisfied_before_client(self) -> None:
        """What was seen often enough ends when the client speaks next."""
        following = next((step for step in self._rest[1:] if not isinstance(step, Anytime)), None)
        if self._rest and self._is_satisfied(self._rest[0]) and isinstance(following, Client):
            self._next()

    def _next(self) -> None:
        del self._rest[0]
        self._seen = 0

    def _is_satisfied(self, step: Step) -> bool:
        return isinstance(step, Server) and (step.times is Times.ANY or self._seen > 0)

    def _take_anytime(self, event: Object) -> bool:
        for each in self._anytime:
            if each.type == event["type"]:
                self._expect(each.fields, event)
                self._anytime.remove(each)
                return True
        return False

    def _expect(self, fields: Fields, event: Object) -> None:
        for path, expected in fields.items():
            value = look_up(event, path)
            wanted = self._bound.setdefault(expected.name, value) if isinstance(expected, Ref) else expected
            if value != wanted:
                raise OutOfOrder(f"{self._order.name}: {path} of {event['type']} is {value!r} and not {wanted!r}.")

    def _resolve(self, value: Expected) -> Json:
        match value:
            case Ref(name):
                return self._bound[name]
            case Mapping():
                return {key: self._resolve(each) for key, each in value.items()}
            case tuple() | list():
                return [self._resolve(each) for each in value]
            case _:
                return value


def look_up(event: Object, path: str) -> Json:
    """The value at a dotted path; None where there is nothing."""
    value: Json = event
    for key in path.split("."):
        if isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, dict):
            value = value.get(key)
        else:
            return None
    return value
