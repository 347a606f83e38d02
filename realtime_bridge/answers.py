"""PURE. The model's half: its answers as they are generated, told to the client, heard, and interrupted."""

from __future__ import annotations

import binascii
from collections.abc import Sequence

import pybase64

from realtime_bridge.answering import Answering
from realtime_bridge.audio_cut import BYTES_PER_MS, AudioCut
from realtime_bridge.client_events import ConversationItemDelete, ConversationItemTruncate
from realtime_bridge.effects import Effect, Record, Say, Send
from realtime_bridge.playback import Playback
from realtime_bridge.server_events import (
    Response,
    ResponseOutputAudioDelta,
    ResponseOutputAudioDone,
    ResponseOutputAudioTranscriptDone,
    ResponseOutputTextDone,
)
from streams import down, turns


class Answers:
    """The answers of one upstream socket."""

    def __init__(self) -> None:
        self.answering = Answering()
        self.voiced = False
        """the model has spoken with a voice, which it cannot change any more"""
        self._playback = Playback()
        self._cuts: dict[tuple[str, int], AudioCut] = {}
        self._texts: dict[str, str] = {}
        """what was said, by item, until its answer is done"""
        self._heard_ms: dict[str, int] = {}
        """how much of an item was heard, where that is not all of it"""

    def audio(self, event: ResponseOutputAudioDelta, now: float) -> list[Effect]:
        """A piece of the answer: to the client, unless nobody wants to hear it any more."""
        if self.answering.is_void(event.response_id):
            return []
        try:
            pcm = pybase64.b64decode(event.delta, validate=True)
        except (binascii.Error, ValueError):
            return [Say(down.Failed(code="malformed_audio", message="A piece of the answer could not be read."))]
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
        return self._say_audio(cut.flush(), now)

    def _say_audio(self, entries: list[down.Audio], now: float) -> list[Effect]:
        for entry in entries:
            self._playback.received(entry.response, entry.item, entry.part, len(entry.audio) / BYTES_PER_MS, now)
        return [Say(entry) for entry in entries]

    def text_done(self, event: ResponseOutputAudioTranscriptDone | ResponseOutputTextDone) -> None:
        """What a part says, in words."""
        text = event.transcript if isinstance(event, ResponseOutputAudioTranscriptDone) else event.text
        self._texts[event.item_id] = self._texts.get(event.item_id, "") + text

    def interrupt(self, now: float, *, by_model: bool = False) -> list[Effect]:
        """The user wants to be heard: stop generating, void what was not heard, and tell the model how much was.

        `by_model`: its VAD has noticed, and it stops generating by itself. Whether anything is still to be heard it
        cannot know, so the truncation is ours in any case.
        """
        effects = self.answering.interrupt(by_model=by_model)
        for part in self._playback.interrupt(now):
            heard_ms = part.heard_ms(now)
            self._heard_ms[part.item] = heard_ms
            effects.append(Say(down.Interrupted(item=part.item, part=part.index, at_ms=heard_ms)))
            if heard_ms > 0:
                effects.append(
                    Send(ConversationItemTruncate(item_id=part.item, content_index=part.index, audio_end_ms=heard_ms))
                )
            else:
                effects.append(Send(ConversationItemDelete(item_id=part.item)))
            if part.item not in self._texts:
                effects.append(self._remember(part.response, part.item, ""))
        return effects

    def truncated(self, item: str, part: int, at_ms: int) -> list[Effect]:
        """The client has cut this item by itself: no more of it counts as heard."""
        self._heard_ms[item] = at_ms
        effects: list[Effect] = [Say(down.Interrupted(item=item, part=part, at_ms=at_ms))]
        if item not in self._texts and self.answering.response is None:
            effects.append(self._remember("", item, ""))
        return effects

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
        for item in response.output:
            if item.id in self._texts:
                effects.append(self._remember(response.id, item.id, self._texts.pop(item.id)))
        effects += called
        about = self.answering.about(response.id)
        if about is not None:
            effects.append(Record(turns.Answered(response.id, str(about.entry), about.samples, outputs)))
        return [*effects, *self.answering.done(response.id, now)]

    def _remember(self, response: str, item: str, text: str) -> Record:
        heard_ms = self._heard_ms.pop(item, None)
        return Record(turns.AssistantSaid(response=response, item=item, text=text, heard_ms=heard_ms))
