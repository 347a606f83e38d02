"""Every event order of the API, borne by the conversation; and the two cores face to face: conversation and simulator."""

from __future__ import annotations

from random import Random

import msgspec
import pybase64
import pytest

from realtime_bridge import client_events
from realtime_bridge.answers import STOPPED_WITHIN_S
from realtime_bridge.conversation import Conversation
from realtime_bridge.effects import Effect, Reappend, Record, Say, Send, SendAudio
from realtime_bridge.personas import Personas
from realtime_bridge.server_events import parse
from simulator.agenda import Close
from simulator.options import Options
from simulator.orders import ORDERS
from simulator.script import Order
from simulator.session import Session
from simulator.wire import encode
from streams import down, pcm, turns
from streams.consumer import Entry
from streams.ids import EntryId
from tests.unit.simulator.test_orders import played

PERSONAS = Personas.load(None)

UPDATED = '{"type": "session.updated", "event_id": "e", "session": {"type": "realtime"}}'


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: f"{order.section} {order.name}")
def test_every_order_is_borne(order: Order) -> None:
    """No event is taken for a failure, all audio that is not void reaches the client whole, and no answer stays open."""
    conversation = Conversation(turns.Opened(user="u", door="d", turn_mode="server_vad"), PERSONAS, None)
    conversation.dialled()
    effects = conversation.received(parse(UPDATED), UPDATED, 0.0)
    spoken = b""
    log = played(order)
    for number, event in enumerate(log):
        raw = encode(event).decode()
        effects += conversation.received(parse(raw), raw, float(number))
        if event["type"] == "response.output_audio.delta":
            spoken += pybase64.b64decode(str(event["delta"]))
    told = [effect.message for effect in effects if isinstance(effect, Say)]
    assert not [message for message in told if isinstance(message, down.Failed)]
    heard = b"".join(message.audio for message in told if isinstance(message, down.Audio))
    if any(isinstance(message, down.Interrupted) for message in told):
        assert spoken.startswith(heard)
    else:
        assert heard == spoken
    types = {message.type for message in told if isinstance(message, down.ServerEvent)}
    assert types == {str(e["type"]) for e in log} - {
        "response.output_audio.delta",
        "session.created",
        "session.updated",
        "error",
    }
    effects = conversation.wake(len(log) + STOPPED_WITHIN_S)  # there is no gateway to say what was heard
    assert conversation.next_wake is None


class FaceToFace:
    """A conversation and the simulator's session in one thread, with a clock that is set by hand."""

    def __init__(self, turn_mode: turns.TurnMode = "utterance", options: Options | None = None) -> None:
        self.now = 0.0
        opened = turns.Opened(user="u", door="mobile", turn_mode=turn_mode)
        self.conversation = Conversation(opened, PERSONAS, "gpt-transcribe")
        self.model = Session(options or Options(), "gpt-realtime-2.1", now=0.0, wall=1.7e9, random=Random(3))
        self.told: list[down.DownMessage] = []
        self.recorded: list[turns.TurnsMessage] = []
        self._pcm: list[tuple[EntryId, pcm.PcmMessage]] = []
        self._perform(self.conversation.dialled())
        self.settle()
        assert self.conversation.ready

    def records(self, audio: bytes) -> None:
        """A whole recording comes now."""
        self._says(pcm.Audio(audio))
        self._says(pcm.UtteranceEnd(samples=len(audio) // 2, arrived_ms=int(self.now * 1000), source="m4a"))

    def _says(self, message: pcm.PcmMessage) -> None:
        entry = EntryId(1, len(self._pcm) + 1)
        self._pcm.append((entry, message))
        self._perform(self.conversation.said(Entry(entry, message), self.now))
        self._exchange()

    def wait(self, seconds: float) -> None:
        """Let time pass in small steps: both cores do what is due."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.02)
            if (wake := self.conversation.next_wake) is not None and wake <= self.now:
                self._perform(self.conversation.wake(self.now))
            self._exchange()

    def settle(self) -> None:
        self.wait(0.1)

    def _exchange(self) -> None:
        for effect in self.model.due(self.now):
            assert not isinstance(effect, Close)
            raw = encode(effect).decode()
            self._perform(self.conversation.received(parse(raw), raw, self.now))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(event=event):
                    self.model.receive_frame(msgspec.json.encode(event), self.now)
                case SendAudio(audio=audio):
                    self.model.receive_frame(client_events.append_frame(audio).encode(), self.now)
                case Reappend(after=after, upto=upto):
                    for entry, message in self._pcm:
                        if after < entry <= upto and isinstance(message, pcm.Audio):
                            frame = client_events.append_frame(message.audio)
                            self.model.receive_frame(frame.encode(), self.now)
                case Say(message=message):
                    self.told.append(message)
                case Record(message=message):
                    self.recorded.append(message)
                case _:
                    pass

    def heard(self) -> list[bytes]:
        """The audio of each answer, as far as it was said."""
        answers: dict[str, bytes] = {}
        for message in self.told:
            if isinstance(message, down.Audio):
                answers[message.response] = answers.get(message.response, b"") + message.audio
        return list(answers.values())

    @property
    def failures(self) -> list[down.Failed]:
        return [message for message in self.told if isinstance(message, down.Failed)]


def noise(seconds: float, seed: int) -> bytes:
    """Loud noise, different for each seed: what comes back can be told apart."""
    return Random(seed).randbytes(int(seconds * 24_000) * 2)


def test_an_utterance_comes_back_sample_for_sample() -> None:
    """The echo of a recording is the recording, and what was said is recorded."""
    talk = FaceToFace()
    spoken = noise(1.5, 1)
    talk.records(spoken)
    talk.wait(5.0)
    assert talk.heard() == [spoken]
    assert not talk.failures
    kinds = [type(message) for message in talk.recorded]
    assert kinds.count(turns.Committed) == kinds.count(turns.UserSaid) == kinds.count(turns.AssistantSaid) == 1


def test_an_interruption_is_followed_by_the_new_answer_alone() -> None:
    """The first answer stops where it was, the second is whole; nothing failed on the way."""
    talk = FaceToFace()
    first, second = noise(6.0, 1), noise(1.0, 2)
    talk.records(first)
    talk.wait(0.5)
    talk.records(second)
    talk.wait(8.0)
    cut, whole = talk.heard()
    assert whole == second
    assert first.startswith(cut)
    assert len(cut) < len(first)
    assert not talk.failures
    assert [type(message) for message in talk.told].count(down.Interrupted) == 1


def test_slices_that_follow_each_other_are_one_speech() -> None:
    """Three slices a second apart, then nothing: the last answer is all three, in order, once."""
    talk = FaceToFace()
    parts = [noise(1.0, n) for n in range(3)]
    talk.wait(1.0)
    for part in parts:
        talk.records(part)
        talk.wait(1.0)
    talk.wait(12.0)
    answer = talk.heard()[-1]
    assert answer.startswith(b"".join(parts))
    assert not any(answer[len(b"".join(parts)) :])
    assert not talk.failures


@pytest.mark.parametrize("seed", range(20))
def test_recordings_at_any_moment_leave_no_answer_open(seed: int) -> None:
    """Ten recordings of random length at random moments: the last one is answered whole, nothing fails."""
    random = Random(seed)
    talk = FaceToFace()
    last = b""
    for n in range(10):
        last = noise(random.uniform(0.2, 3.0), n)
        talk.records(last)
        talk.wait(random.choice([0.0, 0.02, 0.3, 1.0, 4.0]))
    talk.wait(40.0)
    assert talk.heard()[-1].startswith(last) or talk.heard()[-1].endswith(last) or last in talk.heard()[-1]
    assert not talk.failures
    assert talk.conversation.next_wake is None
