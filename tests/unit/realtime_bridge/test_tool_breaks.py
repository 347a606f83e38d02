"""The model's socket breaks, or the bridge dies, at every event of a turn with function calls: each call is made under one
id, and what was answered is spoken about once."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from realtime_bridge import client_events
from realtime_bridge.conversation import Conversation
from realtime_bridge.effects import CallTool, Effect, Record, Say, Send, SendAudio
from realtime_bridge.rebuild import rebuild
from realtime_bridge.server_events import ResponseDone, ResponseOutputAudioTranscriptDone, parse
from simulator import voice
from simulator.agenda import Close
from simulator.answers import Call, CallFirst, Retell, Speech
from simulator.options import Options
from simulator.session import Session
from simulator.wire import encode
from streams import down, pcm, turns
from streams.consumer import Entry
from streams.ids import BIRTH, EntryId
from tests.unit.realtime_bridge.calling_talk import PERSONAS

OPTIONS = Options(
    speed=0.0,
    delta_ms=1_000,
    transcription_delay_s=0.0,
    answer=CallFirst((Call("weather", "{}"), Call("time", "{}")), Retell(), Speech("Let me see.", bytes(9_600))),
)
STEP_S = 0.1
FUNCTION_NEEDS_S = 0.3
SPOKEN = voice.hello() + bytes(48_000)


class Life:
    """A session, from its first word on. Its socket breaks behind the n-th event of the model's; with it, if `dies`, its
    bridge, and with that the calls that are under way."""

    def __init__(self, mode: turns.TurnMode, break_at: int, *, dies: bool) -> None:
        self.now = 0.0
        self.heard = 0
        """events of the model's"""
        self._sockets = 0
        self.posted: list[str] = []
        self.transcripts: dict[str, str] = {}
        self.said: list[str] = []
        """by responses that are done"""
        self.told: list[down.DownMessage] = []
        self._break_at, self._dies = break_at, dies
        self._opened = turns.Opened(user="u", door="ios", turn_mode=mode)
        self.turns = [Entry[turns.TurnsMessage](BIRTH, self._opened)]
        self._pcm = [Entry[pcm.PcmMessage](EntryId(1, 1), pcm.Audio(SPOKEN))]
        if mode == "utterance":
            self._pcm.append(Entry(EntryId(1, 2), pcm.UtteranceEnd(len(SPOKEN) // 2, arrived_ms=0, source="m4a")))
        self._running: dict[str, float] = {}
        """calls under way, and when they are answered"""
        self._begun: set[str] = set()
        self._unsaid = list(self._pcm)
        self.conversation = Conversation(self._opened, PERSONAS, "gpt-transcribe")
        self._dial()

    def _dial(self) -> None:
        self._sockets += 1  # each has ids of its own: those of the last one are told to it
        random = Random(1_000 * self._sockets + self.heard)
        self.model = Session(OPTIONS, "gpt-realtime-2.1", now=self.now, wall=1.7e9, random=random)
        self._perform(self.conversation.dialled())

    def is_taken_over(self, log: list[Entry[turns.TurnsMessage]]) -> None:
        """Another bridge goes on from what is stored."""
        self.turns = log
        self._sockets += 1
        self._break()

    def _break(self) -> None:
        if self._dies:
            self._running.clear()
            self._begun.clear()
            self.conversation = Conversation(self._opened, PERSONAS, "gpt-transcribe")
        rebuilt = rebuild(self.turns)
        assert rebuilt is not None
        self.conversation.restore(rebuilt)
        entry, samples = rebuilt.position
        self._unsaid = [each for each in self._pcm if each.id > entry or (samples and each.id == entry)]
        self._dial()

    def live(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += STEP_S
            self._exchange()
            if self.conversation.ready and self._unsaid:
                self._perform(self.conversation.said(self._unsaid.pop(0), self.now))
            for call_id in [each for each, at in self._running.items() if at <= self.now and self.conversation.ready]:
                del self._running[call_id]
                self._perform(self.conversation.tool_answered(call_id, f'"{call_id}"', None, self.now))
            if (wake := self.conversation.next_wake) is not None and wake <= self.now:
                self._perform(self.conversation.wake(self.now))

    def _exchange(self) -> None:
        for effect in self.model.due(self.now):
            assert not isinstance(effect, Close)
            raw = encode(effect).decode()
            event = parse(raw)
            self._perform(self.conversation.received(event, raw, self.now))
            if isinstance(event, ResponseOutputAudioTranscriptDone):
                self.transcripts[event.item_id] = event.transcript
            elif isinstance(event, ResponseDone):
                self.said += [self.transcripts[item.id] for item in event.response.output if item.id in self.transcripts]
            self.heard += 1
            if self.heard == self._break_at:
                self._break()
                return

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(event=event):
                    self.model.receive_frame(msgspec.json.encode(event), self.now)
                case SendAudio(audio=audio):
                    self.model.receive_frame(client_events.append_frame(audio).encode(), self.now)
                case CallTool(call_id=call_id) if call_id not in self._begun:
                    self._begun.add(call_id)
                    self.posted.append(call_id)
                    self._running[call_id] = self.now + FUNCTION_NEEDS_S
                case Record(message=message):
                    self.turns.append(Entry(EntryId(1, len(self.turns)), message))
                case Say(message=message):
                    self.told.append(message)
                case _:
                    pass


@pytest.mark.parametrize("dies", [False, True], ids=["the socket breaks", "the bridge dies"])
@pytest.mark.parametrize("mode", ["utterance", "server_vad"])
def test_a_break_behind_every_event(mode: turns.TurnMode, dies: bool) -> None:
    whole = Life(mode, 0, dies=dies)
    whole.live(4.0)
    assert len(whole.said) == 2, "something is said before the calls, and something behind them"
    assert whole.heard > 40
    for n in range(1, whole.heard + 1):
        life = Life(mode, n, dies=dies)
        life.live(8.0)
        where = f"behind event {n} of {whole.heard}"
        weather, time = dict.fromkeys(life.posted)
        assert len(life.posted) <= (4 if dies else 2), where
        assert [said for said in life.said if "told" in said] == [f'I was told "{weather}" and "{time}".'], where
        kinds = [item.type for item in life.model.conversation.items]
        assert kinds.count("function_call") == kinds.count("function_call_output") == 2, where
        assert not [message for message in life.told if isinstance(message, down.Failed)], where


@pytest.mark.parametrize("mode", ["utterance", "server_vad"])
def test_a_death_between_any_two_entries(mode: turns.TurnMode) -> None:
    """Of what the dead bridge has recorded, only the first so many entries are stored."""
    whole = Life(mode, 0, dies=True)
    whole.live(4.0)
    for stored in range(1, len(whole.turns) + 1):
        log = whole.turns[:stored]
        heir = Life(mode, 0, dies=True)
        heir.is_taken_over(list(log))
        heir.live(8.0)
        where = f"behind entry {stored} of {len(whole.turns)}: {log[-1].message}"
        is_over = any(isinstance(entry.message, turns.Answered) and entry.message.calls for entry in log)
        assert len([said for said in heir.said if "told" in said]) == (0 if is_over else 1), where
        answered = {entry.message.call_id for entry in log if isinstance(entry.message, turns.ToolAnswered)}
        assert not answered & set(heir.posted), where
        kinds = [item.type for item in heir.model.conversation.items]
        assert kinds.count("function_call") == kinds.count("function_call_output") == 2, where
