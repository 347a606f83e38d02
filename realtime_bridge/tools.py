"""PURE. The model's function calls: who runs them, what was answered, and when the model is asked to go on.

```
  done ──▶ CALLED ──answered──▶ TOLD ──created──▶ COVERED ──done──▶ settled
              │                   │                  │
              CallTool            output goes up     the response has the output before it
```
A call counts when its response is done, and once for its id, so nothing is called in a response that was cancelled. Each
output goes up as it comes; when those of all calls of a response are there, one `response.create` asks the model to go on.
It waits until nobody else speaks: neither the user nor another answer. An answer that the model's VAD has begun by itself,
after it was told the outputs, has dealt with them, and nothing is asked for.

Where the client speaks the model's protocol, names decide: what the persona does not offer is for the client to run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from realtime_bridge.answering import ANSWER_WITHIN_S, Answering
from realtime_bridge.client_events import ConversationItemCreate, JsonObject, function_call_output
from realtime_bridge.effects import CallTool, Effect, Record, Send
from realtime_bridge.personas import Persona, Personas
from realtime_bridge.server_events import Item, Response
from realtime_bridge.spoken import START, Position
from streams import turns

VAD_ANSWERS_WITHIN_S = 1.0
"""After the end of a user's turn the model may begin to answer by itself: so long it is not asked to go on."""

MAX_ROUNDS = 8
"""So many times in a row a response may call again before the user has said anything; then it has to speak."""


_OUTPUT = "parley_output_"
"""What the events begin with by which the model is told outputs."""


class Owed(NamedTuple):
    """A call that the bridge runs and the model has not answered to, as a rebuild finds it."""

    call: turns.ToolCalled
    about: Position
    persona: str | None
    """who was it, as far as anybody had been chosen"""
    is_answered: bool
    """its output is among the rebuilt items"""

    def of(self, personas: Personas) -> Owed:
        """By somebody there is: where nobody, or nobody known, was chosen it was the default."""
        known = self.persona is not None and personas.get(self.persona) is not None
        return self if known else self._replace(persona=personas.default_id)


@dataclass(slots=True)
class _Call:
    response: str
    about: Position
    is_answered: bool = False
    is_told: bool = False
    """the model has said that it has the output"""


def failure(code: str, message: str) -> str:
    """An output that says that there is none: short, so that the model can speak about it."""
    return msgspec.json.encode({"error": {"code": code, "message": message}}).decode()


class Tools:
    """The function calls on one upstream socket."""

    def __init__(self, answering: Answering, owed: Sequence[Owed] = (), *, client_runs_others: bool = False) -> None:
        self._answering, self._owed = answering, owed
        self._client_runs_others = client_runs_others
        self._offered: dict[str, str] = {}
        """every function that was offered on this socket, and the persona that did last"""
        self._options: JsonObject | None = None
        self._heard: dict[str, dict[str, Item]] = {}
        """calls of responses that are not done, by call id"""
        self._run: set[str] = {each.call.call_id for each in owed}
        """ids of all calls that are run here"""
        self._theirs: set[str] = set()
        """ids of all that the client runs"""
        self._calls: dict[str, _Call] = {}
        """not covered by a response yet"""
        self._covered: dict[str, tuple[str, ...]] = {}
        """by the response, which is not done"""
        self._aside: set[str] = set()
        """responses out of band that are not done: what they call is in no conversation"""
        self._left_to_client: set[str] = set()
        """responses with calls of the client's: it asks the model to go on"""
        self._asked: str | None = None
        """the name of our `response.create` that is under way"""
        self._asked_about: tuple[str, ...] = ()
        """the calls it is to go on after"""
        self._asked_until = 0.0
        """then it counts as lost"""
        self._announces = False
        """the model's server tells of new items, so that what it has not told of was not there"""
        self._rounds = 0
        self._outputs: dict[str, str] = {}
        """the call of each output, by the name of the event that tells it"""
        self._vad_answers_until: float | None = None

    def offer(self, persona_id: str, persona: Persona) -> None:
        """From now on the model may call what this persona offers; what it was offered before, it may still."""
        self._offered |= dict.fromkeys((tool.name for tool in persona.tools), persona_id)
        forced = persona.tool_choice not in ("auto", "none")
        self._options = {"tool_choice": "auto"} if forced else None  # else it would call for ever

    def runs(self, call_id: str | None) -> bool:
        """Whether this call is for the bridge to run, whatever the client says to it."""
        return call_id in self._run

    @property
    def owes(self) -> bool:
        """Whether the model waits for an output, or is to be asked to go on."""
        return bool(self._calls)

    # ── what the model says ─────────────────────────────────────────────────────────────────────────────────────────

    def ready(self) -> list[Effect]:
        """The model knows the conversation: do what an earlier bridge, or socket, has left to do."""
        effects: list[Effect] = []
        owed, self._owed = self._owed, ()
        for call, about, persona, is_answered in owed:
            self._calls[call.call_id] = _Call(call.response, about, is_answered, is_told=is_answered)
            if not is_answered:
                effects += self._call(call.call_id, call.name, call.arguments, persona)
        return effects

    def item_done(self, response: str, item: Item) -> None:
        """An item of a response is complete."""
        if item.type == "function_call" and item.call_id:
            self._heard.setdefault(response, {})[item.call_id] = item

    def added(self, item: Item) -> None:
        """The conversation has this item now."""
        self._announces = True
        if item.type == "function_call_output" and (call := self._calls.get(item.call_id or "")) is not None:
            call.is_told = True

    def turn_ended(self, now: float) -> None:
        """The VAD has heard the end of the user's turn."""
        self._vad_answers_until = now + VAD_ANSWERS_WITHIN_S

    def created(self, response: str, *, by_us: bool, by_client: bool, aside: bool = False) -> None:
        """A response begins, as far as anybody can tell asked for by us, or by the client (`aside`: out of band).

        The model's VAD may have begun it while our `response.create` was on its way: then it may be without the outputs.
        """
        if aside:
            self._aside.add(response)
            return
        goes_on = by_us and self._asked is not None
        assumed = self._asked_about if goes_on and not self._announces else ()
        covered = tuple(name for name, call in self._calls.items() if call.is_told or name in assumed)
        for call_id in covered:
            del self._calls[call_id]
        if covered:
            self._covered[response] = covered
        if by_client:
            self._left_to_client.clear()  # of outputs that come later the client knows nothing
        self._rounds = self._rounds + 1 if goes_on else 0
        if not self._calls.keys() & set(self._asked_about):
            self._asked = None
        self._vad_answers_until = None

    def done(self, response: Response) -> list[Effect]:
        """A response is done; call before its answer counts as done. What it has called is called."""
        heard = self._heard.pop(response.id, {})
        heard |= {item.call_id: item for item in response.output if item.type == "function_call" and item.call_id}
        if response.id in self._aside or response.status in ("cancelled", "failed"):
            self._aside.discard(response.id)
            return []
        about = self._answering.answers_to(response.id)
        effects: list[Effect] = []
        for call_id, item in heard.items():
            if item.status in ("incomplete", "in_progress") or call_id in self._run | self._theirs:
                continue
            name, arguments = item.name or "", item.arguments or "{}"
            theirs = self._client_runs_others and name not in self._offered
            known = turns.ToolCalled(response.id, item.id, call_id, name, arguments, by_client=theirs)
            effects.append(Record(known))
            if theirs:
                self._theirs.add(call_id)
                self._left_to_client.add(response.id)
                continue
            self._run.add(call_id)
            self._calls[call_id] = _Call(response.id, about or START)
            effects += self._call(call_id, name, arguments, self._offered.get(name))
        return effects

    def covered(self, response: str) -> tuple[str, ...]:
        """The calls whose outputs a response that begins has before it."""
        return self._covered.get(response, ())

    def settled(self, response: str) -> tuple[str, ...]:
        """The calls whose outputs a response that is done had before it."""
        return self._covered.pop(response, ())

    def _call(self, call_id: str, name: str, arguments: str, persona: str | None) -> list[Effect]:
        if persona is None:
            return self.answered(call_id, failure("unknown_function", f"There is no function {name!r}."), "unknown_function")
        try:
            msgspec.json.decode(arguments, type=JsonObject)
        except (msgspec.MsgspecError, UnicodeError):
            problem = failure("invalid_arguments", "The arguments are not a JSON object. Nothing was done.")
            return self.answered(call_id, problem, "invalid_arguments")
        return [CallTool(call_id, name, arguments, persona)]

    # ── what was answered ───────────────────────────────────────────────────────────────────────────────────────────

    def answered(self, call_id: str, output: str, error: str | None) -> list[Effect]:
        """The function has answered, or has failed to: the model is told, once."""
        call = self._calls.get(call_id)
        if call is None or call.is_answered:
            return []
        call.is_answered = True
        event_id = f"{_OUTPUT}{len(self._outputs) + 1}"
        self._outputs[event_id] = call_id
        create = ConversationItemCreate(item=function_call_output(call_id, output), event_id=event_id)
        return [Record(turns.ToolAnswered(call_id, output, error)), Send(create)]

    def is_ours(self, event_id: str | None) -> bool:
        """Whether an event of this name was an output of ours, or our wish to go on."""
        return event_id is not None and (event_id == self._asked or event_id in self._outputs)

    @property
    def deadline(self) -> float | None:
        """When `due` wants to be called though nothing happens."""
        if not self._calls:
            return None
        return self._vad_answers_until if self._asked is None else self._asked_until

    def due(self, now: float, *, quiet: bool) -> list[Effect]:
        """Ask the model to go on, if it is time. `quiet`: the user does not speak, and the client has not asked itself."""
        if self._vad_answers_until is not None and now >= self._vad_answers_until:
            self._vad_answers_until = None
        if self._asked is not None and now >= self._asked_until:
            self.gave_up()
        waits = self._asked is not None or self._vad_answers_until is not None or not quiet
        if waits or not self._answering.asks_at_once:
            return []
        going_on = self._going_on()
        if not going_on:
            return []
        options: JsonObject | None = {"tool_choice": "none"} if self._rounds >= MAX_ROUNDS else self._options
        about = max(call.about for call in going_on.values())
        effects = self._answering.want(now, about, options, again=False)
        self._asked, self._asked_about = self._answering.asked_as, tuple(going_on)
        self._asked_until = now + ANSWER_WITHIN_S
        return effects

    def refused(self, event_id: str | None, *, busy: bool) -> bool:
        """Whether that was our wish to go on. `busy`: another answer is active; whether it will do is seen then.

        Of an output that is refused, because its call is not there any more, nothing comes.
        """
        self._calls.pop(self._outputs.get(event_id or "", ""), None)
        if self._asked is None or event_id not in (None, self._asked):
            return False
        if not busy:
            self.gave_up()
        self._asked = None
        return True

    def gave_up(self) -> None:
        """The model does not go on. The person has been told; it is not asked for ever."""
        if self._asked is not None:
            for call_id in self._asked_about:
                self._calls.pop(call_id, None)
        self._asked = None

    def _going_on(self) -> dict[str, _Call]:
        """The calls of responses all of whose outputs are there."""
        waiting = {call.response for call in self._calls.values() if not call.is_answered} | self._left_to_client
        return {name: call for name, call in self._calls.items() if call.response not in waiting}
