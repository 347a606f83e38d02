"""PURE. The model's half: its answers as they are generated, told to the client, heard, and interrupted.

An interruption takes two steps. At once the answer is cancelled, nothing more of it is told, and the gateway is asked to
stop, and how far the listener was (`Stop`). When that is known (`stopped`), or has not come within STOPPED_WITHIN_S, what
was not heard becomes void, and the model is told where its words were cut off. Until then no other answer is asked for: the
model is to know first what was heard of the last one.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pybase64

from realtime_bridge.answering import Answering
from realtime_bridge.audio_cut import BYTES_PER_MS, AudioCut
from realtime_bridge.client_events import ConversationItemDelete, ConversationItemTruncate, JsonObject
from realtime_bridge.effects import Effect, Record, Say, Send, Stop
from realtime_bridge.heard_text import heard_text
from realtime_bridge.playback import Cut, Heard, Part, Playback, cuts
from realtime_bridge.recalled import Recalled
from realtime_bridge.server_events import (
    Response,
    ResponseOutputAudioDelta,
    ResponseOutputAudioDone,
    ResponseOutputAudioTranscriptDone,
    ResponseOutputTextDone,
)
from realtime_bridge.spoken import Position
from streams import down, turns

STOPPED_WITHIN_S = 0.2
"""From the interruption to the gateway's word about what was heard."""

KEPT_ITEMS = 32
"""Items that are told and may still be cut: what they say is kept so long."""


@dataclass(slots=True)
class _Item:
    """What an item says."""

    response: str = ""
    text: str = ""
    spoken_ms: float = 0.0
    """of audio, also what nobody wanted to hear any more"""
    heard_ms: int | None = None
    """None: all of it"""
    told: bool = False
    """it is in `turns`"""


@dataclass(frozen=True, slots=True)
class _Stopping:
    """An interruption whose truth is not known yet."""

    stop: str
    parts: list[Part]
    at: float

    @property
    def deadline(self) -> float:
        return self.at + STOPPED_WITHIN_S


@dataclass(slots=True)
class Answers:
    """The answers of one upstream socket."""

    answering: Answering = field(default_factory=Answering)
    voiced: bool = False
    """the model has spoken with a voice, which it cannot change any more"""
    playback: Playback = field(default_factory=Playback)
    _cuts: dict[tuple[str, int], AudioCut] = field(default_factory=dict)
    _items: dict[str, _Item] = field(default_factory=dict)
    _stopping: _Stopping | None = None

    # ── as it is generated ──────────────────────────────────────────────────────────────────────────────────────────

    def go_on_hearing(self, former: Answers) -> None:
        """What was said on another socket is still being heard; no more of it comes."""
        self.playback, self._items = former.playback, former._items
        self.playback.complete_all()

    def recall(self, parts: Iterable[Recalled], now: float) -> None:
        """Another bridge has said this, and it may still be heard."""
        for part in parts:
            self.playback.recall(part.response, part.item, part.part, part.received_ms, part.arrived_ms, now)
            item = self._item(part.item)
            item.response, item.told = part.response, True
            item.spoken_ms += part.received_ms

    def recalled(self, context: Iterable[JsonObject]) -> dict[str, float]:
        """The items that the socket is told of, as far as they were heard on another: ms of audio of each."""
        spoken: dict[str, float] = {}
        for told in context:
            item = self._items.get(str(told.get("id")))
            if item is not None and told.get("role") == "assistant":
                item.text, item.told = " ".join(part.get("text", "") for part in told["content"]), True
                spoken[told["id"]] = item.spoken_ms
        return spoken

    def is_heard(self, now: float) -> bool:
        """Whether something is still being heard."""
        return self.playback.until(now) > now

    def created(self, response: str, about: Position, outputs: tuple[str, ...] = ()) -> list[Effect]:
        """The model begins to answer. `about`: up to where, if nobody has asked for it; `outputs`: of which calls it has
        them."""
        effects = self.answering.created(response, about)
        answers_to = self.answering.answers_to(response)
        if answers_to is not None:
            begun = turns.Begun(response, str(answers_to.entry), answers_to.samples, outputs)
            effects.append(Record(begun))
        return effects

    def without_echo(self, audio: bytes, deaf_ms: int | None, now: float) -> bytes:
        """Silence instead of what may be the answer's own echo, where the persona says so: lest it interrupt itself."""
        return bytes(len(audio)) if deaf_ms != 0 and self.playback.may_echo(now, deaf_ms) else audio

    def audio(self, event: ResponseOutputAudioDelta, now: float) -> list[Effect]:
        """A piece of the answer: to the client, unless nobody wants to hear it any more."""
        try:
            pcm = pybase64.b64decode(event.delta, validate=True)
        except (binascii.Error, ValueError):
            if self.answering.is_void(event.response_id):
                return []
            return [Say(down.Failed(code="malformed_audio", message="A piece of the answer could not be read."))]
        self._item(event.item_id).spoken_ms += len(pcm) / BYTES_PER_MS
        if self.answering.is_void(event.response_id):
            return []
        self.voiced = True
        key = (event.item_id, event.content_index)
        cut = self._cuts.get(key)
        if cut is None:
            cut = self._cuts[key] = AudioCut(event.response_id, event.item_id, event.content_index, event.output_index)
        return self._say_audio(cut.feed(pcm), now)

    def audio_done(self, event: ResponseOutputAudioDone, now: float) -> list[Effect]:
        """All audio of the part has come."""
        cut = self._cuts.pop((event.item_id, event.content_index), None)
        if cut is None or self.answering.is_void(event.response_id):
            return []
        effects = self._say_audio(cut.flush(), now)
        self.playback.complete(event.item_id, event.content_index)
        return effects

    def _say_audio(self, entries: list[down.Audio], now: float) -> list[Effect]:
        for entry in entries:
            self.playback.received(entry.response, entry.item, entry.part, len(entry.audio) / BYTES_PER_MS, now)
        return [Say(entry) for entry in entries]

    def text_done(self, event: ResponseOutputAudioTranscriptDone | ResponseOutputTextDone) -> None:
        """What a part says, in words."""
        text = event.transcript if isinstance(event, ResponseOutputAudioTranscriptDone) else event.text
        self._item(event.item_id).text += text

    def done(
        self, response: Response, now: float, called: Sequence[Effect] = (), outputs: tuple[str, ...] = ()
    ) -> list[Effect]:
        """The answer is generated; it may be heard for long yet.

        `called`: what follows from the functions it has called behind its words; `outputs`: of which calls it had them.
        """
        effects: list[Effect] = []
        for key in [key for key, cut in self._cuts.items() if cut.response == response.id]:
            cut = self._cuts.pop(key)
            if not self.answering.is_void(response.id):
                effects += self._say_audio(cut.flush(), now)
        if response.status == "completed":
            self.playback.done(response.id)
        for output in response.output:
            item = self._items.get(output.id)
            if item is not None and (item.text or item.heard_ms is not None):
                item.response, item.told = response.id, True
                effects.append(_remember(output.id, item))
        effects += called
        about = self.answering.about(response.id)
        if about is not None:
            effects.append(Record(turns.Answered(response.id, str(about.entry), about.samples, outputs)))
        return [*effects, *self.answering.done(response.id, now)]

    def _item(self, name: str) -> _Item:
        item = self._items.get(name)
        if item is None:
            item = self._items[name] = _Item()
            if len(self._items) > KEPT_ITEMS:
                del self._items[next(iter(self._items))]
        return item

    # ── interrupted ─────────────────────────────────────────────────────────────────────────────────────────────────

    def interrupt(self, now: float, *, by_model: bool = False) -> list[Effect]:
        """The user wants to be heard: stop generating, and have the gateway stop and say how much was heard.

        `by_model`: its VAD has noticed, and it stops generating by itself. Whether anything is still to be heard it
        cannot know, so the truncation is ours in any case.
        """
        effects = self.answering.interrupt(by_model=by_model)
        parts = self.playback.interrupt(now)
        if not parts:
            return effects
        settled = self._settle({}, now) if self._stopping is not None else []
        self._stopping = _Stopping(f"{now:.6f}", parts, now)
        self.answering.hold()
        return [*effects, *settled, Stop(self._stopping.stop, tuple((part.item, part.index) for part in parts))]

    @property
    def deadline(self) -> float | None:
        """When an interruption waits no longer for the gateway's word."""
        return None if self._stopping is None else self._stopping.deadline

    def stopped(self, stop: str, heard: Heard, now: float) -> list[Effect]:
        """The gateway says how much was heard."""
        if self._stopping is None or self._stopping.stop != stop:
            return []
        return [*self._settle(heard, now), *self.answering.release(now)]

    def overdue(self, now: float) -> list[Effect]:
        """The gateway may have had its time to say it: there is none, or its word was lost."""
        if self._stopping is None or now < self._stopping.deadline:
            return []
        return [*self._settle({}, now), *self.answering.release(now)]

    def abandon(self) -> list[Effect]:
        """The upstream socket is gone: what an interruption has cut is remembered; whom it would be told does not ask."""
        return [] if self._stopping is None else [one for one in self._settle({}, 0.0) if not isinstance(one, Send)]

    def _settle(self, heard: Heard, now: float) -> list[Effect]:
        assert self._stopping is not None
        stopping, self._stopping = self._stopping, None
        return [effect for cut in cuts(stopping.parts, heard, stopping.at) for effect in self._cut(cut)]

    def _cut(self, cut: Cut) -> list[Effect]:
        part, heard_ms = cut.part, cut.heard_ms
        item = self._item(part.item)
        item.response = part.response
        item.heard_ms = heard_ms if item.heard_ms is None else max(item.heard_ms, heard_ms)
        item.spoken_ms = max(item.spoken_ms, part.received_ms)
        effects: list[Effect] = [Say(down.Interrupted(item=part.item, part=part.index, at_ms=heard_ms))]
        if cut.alone:
            effects.append(Send(ConversationItemDelete(item_id=part.item)))
        else:
            truncate = ConversationItemTruncate(item_id=part.item, content_index=part.index, audio_end_ms=heard_ms)
            effects.append(Send(truncate))
        if item.told or self.answering.response != part.response:
            effects.append(_remember(part.item, item))
        return effects

    def truncated(self, name: str, part: int, at_ms: int) -> list[Effect]:
        """The client has cut this item by itself: no more of it counts as heard."""
        item = self._item(name)
        item.heard_ms = at_ms
        effects: list[Effect] = [Say(down.Interrupted(item=name, part=part, at_ms=at_ms))]
        if item.told or self.answering.response is None:
            effects.append(_remember(name, item))
        return effects


def _remember(name: str, item: _Item) -> Record:
    text = item.text if item.heard_ms is None else heard_text(item.text, item.heard_ms, item.spoken_ms)
    return Record(turns.AssistantSaid(response=item.response, item=name, text=text, heard_ms=item.heard_ms))
