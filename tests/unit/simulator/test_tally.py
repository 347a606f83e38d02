from __future__ import annotations

from simulator.options import Options
from simulator.tally import Tally
from tests.unit.simulator.talking import Talk


def test_it_counts_sample_by_sample() -> None:
    """also when appends end in the middle of a sample."""
    talk = Talk(Options(speed=0))
    talk.push_to_talk()
    for size in (4_801, 3, 4_796):
        talk.append(bytes(size))
    talk.say("input_audio_buffer.commit")
    talk.append(bytes(480))
    tally = talk.session.tally
    assert (tally.samples_received, tally.samples_committed) == (5_040, 4_800)


def test_each_format_has_its_samples() -> None:
    tally = Tally()
    tally.append(960, 2)
    tally.append(160, 1)
    assert tally.samples_received == 640


def test_it_tells_events_refusals_and_responses() -> None:
    talk = Talk(Options(speed=0))
    talk.say("response.create")
    talk.say_raw("{")
    talk.say("response.cancel")
    told = talk.session.tally.wire()
    assert told["client_events"] == {"response.create": 1, "response.cancel": 1}
    assert told["refused"] == 2
    (response,) = talk.session.tally.responses
    done = next(event for event in talk.log if event["type"] == "response.done")["response"]
    assert isinstance(done, dict)
    assert response == {"id": done["id"], "status": "completed", "usage": done["usage"]}
    assert response["usage"]


def test_invented_events_are_bounded() -> None:
    tally = Tally()
    for number in range(1_000):
        tally.receive(f"invented.{number}")
    tally.receive(None)
    assert len(tally.events) <= 65
    assert tally.events.total() == 1_001


def test_transcripts_come_out_of_order() -> None:
    """when the second commit waits less than the first."""
    talk = Talk(Options(speed=0, transcription_delays_s=(2.0, 0.1)))
    talk.update(audio={"input": {"turn_detection": None, "transcription": {"model": "gpt-transcribe"}}})
    committed = []
    for _ in range(2):
        talk.append(bytes(9_600))
        events = talk.say("input_audio_buffer.commit")
        committed += [event["item_id"] for event in events if event["type"] == "input_audio_buffer.committed"]
    kind = "conversation.item.input_audio_transcription.completed"
    told = [event["item_id"] for event in talk.wait(3.0) if event["type"] == kind]
    assert told == committed[::-1]
