"""PURE. How a conversation begins on a fresh socket: what the model is told before all else, and its first answer."""

from __future__ import annotations

from realtime_bridge import client_events as say
from realtime_bridge.answers import Answers
from realtime_bridge.effects import Effect, Say, Send, TellSound
from realtime_bridge.personas import Personas
from realtime_bridge.rebuild import Rebuilt, Unwritten
from realtime_bridge.retold import Retold
from realtime_bridge.role import Role
from realtime_bridge.spoken import START, Position
from realtime_bridge.tools import Owed, Tools
from streams import down


class Opening:
    """Each of what it holds is done once, on the next socket."""

    def __init__(self) -> None:
        self._context: list[say.JsonObject] = []
        """items that the model is told of"""
        self._sounds: dict[int, Unwritten] = {}
        """those of them, by place, that are told as sound"""
        self._is_due = False
        """somebody waits for an answer"""
        self._owed: list[Owed] = []
        """function calls that it has to be answered to"""
        self._goes_on = False
        """it is to say the rest of an answer that a socket broke off"""
        self._mends = False
        """the client is told that the conversation goes on"""
        self._greets: str | None = None
        """the persona that greets"""
        self.greets_at = START
        """where in `pcm` a persona was asked for last"""

    def restore(self, rebuilt: Rebuilt, personas: Personas, *, mends: bool) -> None:
        """It is to know what was said before. `mends`: the client was told of a break, and is told of its end."""
        self._context, self._goes_on, self._mends = rebuilt.items, rebuilt.goes_on, mends
        self._sounds = {each.place: each for each in rebuilt.unwritten}
        self._is_due = bool(rebuilt.goes_on or rebuilt.unanswered or rebuilt.owed)
        self._owed = [each.of(personas) for each in rebuilt.owed]

    def greet_as(self, persona: str) -> None:
        """Somebody else begins, on a socket of their own."""
        self._greets = persona

    def greets(self) -> str | None:
        """The persona that greets on this socket, if one does."""
        greets, self._greets = self._greets, None
        return greets

    def owed(self) -> list[Owed]:
        """To be answered to on this socket."""
        owed, self._owed = self._owed, []
        return owed

    def tell(self, answers: Answers, retold: Retold, tools: Tools) -> list[Effect]:
        """All that the model is to know, when it is configured."""
        context, self._context = retold.named(self._context), []
        retold.told(context, answers.recalled(context))
        told = [self._telling(place, item) for place, item in enumerate(context)]
        told += tools.ready()
        if self._mends:
            told.append(Say(down.Resumed()))
            self._mends = False
        return told

    def _telling(self, place: int, item: say.JsonObject) -> Effect:
        sound = self._sounds.pop(place, None)
        if sound is None:
            return Send(say.ConversationItemCreate(item=item))
        return TellSound(item["id"], sound.start, sound.end, due=self._is_due)

    def greet(self, role: Role, answers: Answers, now: float) -> list[Effect]:
        """The first words of a persona that is new."""
        response = role.to_greet()
        return [] if response is None else answers.answering.want(now, self.greets_at, response)

    def go_on(self, role: Role, overrides: say.JsonObject, answers: Answers, about: Position, now: float) -> list[Effect]:
        """The rest of an answer that broke off, `about` what was said so far. `overrides`: see `Role.to_go_on`."""
        wanted, self._goes_on = self._goes_on, False
        return answers.answering.want(now, about, role.to_go_on(overrides)) if wanted else []
