"""The conversation, without sockets and without waiting: what goes in, what is to be done."""

from __future__ import annotations

from types import MappingProxyType

import msgspec
import pybase64
import pytest

from realtime_bridge.answers import STOPPED_WITHIN_S
from realtime_bridge.client_events import ServerVad
from realtime_bridge.conversation import Conversation
from realtime_bridge.effects import Break, Effect, Finish, Reappend, Record, Redial, Say, Send, SendAudio, Stop, Trim
from realtime_bridge.ending import AT_MOST_S, SETTLE_S
from realtime_bridge.personas import Persona, Personas
from realtime_bridge.rebuild import Rebuilt
from realtime_bridge.user_speech import END_OF_SPEECH, SLICES_END_AFTER_S
from streams import down, pcm, turns
from streams.ids import EntryId
from streams.messages import Commit, End, SetPersona, Text
from tests.unit.realtime_bridge.talking import MS, Talk, sent, told, truncated_at


def test_a_fresh_socket_is_configured_before_anything() -> None:
    """The first thing upstream is a full session.update, and nothing is ready before its answer."""
    talk = Talk()
    (configure,) = talk.conversation.dialled()
    assert isinstance(configure, Send)
    session = msgspec.to_builtins(configure.event)["session"]
    assert session["instructions"] == "Be warm."
    assert session["audio"]["input"]["turn_detection"] is None
    assert not talk.conversation.ready


def test_a_streaming_client_has_the_model_find_the_turns() -> None:
    """Doors that stream ask for the VAD, with every number explicit."""
    (configure,) = Talk("server_vad").conversation.dialled()
    assert isinstance(configure, Send)
    detection = msgspec.to_builtins(configure.event)["session"]["audio"]["input"]["turn_detection"]
    assert detection == msgspec.to_builtins(ServerVad())


def test_a_recording_goes_up_whole_and_is_asked_about() -> None:
    """Nothing goes upstream before the recording's end; then all of it, a commit and one response.create."""
    talk = Talk().ready()
    assert talk.says(pcm.Audio(bytes(500 * MS))) == []
    assert talk.says(pcm.Audio(bytes(500 * MS))) == []
    effects = talk.says(pcm.UtteranceEnd(samples=24_000, arrived_ms=0, source="m4a"))
    assert sent(effects) == ["audio", "audio", "input_audio_buffer.commit", "response.create"]


def test_a_recording_too_short_to_commit_is_told() -> None:
    """Less than 100 ms never reaches the model, and the person is told what to do."""
    effects = Talk().ready().records(80)
    assert sent(effects) == []
    assert [message.code for message in told(effects) if isinstance(message, down.Failed)] == ["too_short"]


def test_a_recording_during_an_answer_interrupts_it() -> None:
    """Cancel and commit at once, truncate at what was heard, void the rest; only then is the new answer asked for."""
    talk = Talk().ready()
    talk.records(1000)
    talk.answer_begins(ms=2000)
    talk.now += 5.0  # far from where the recording before ended
    talk.delta(6000)
    talk.now += 0.5
    effects = talk.records(300)
    assert sent(effects) == ["response.cancel", "audio", "input_audio_buffer.commit"]
    assert told(effects) == []
    assert told(talk.delta(200)) == []
    assert sent(talk.answer_ends(status="cancelled")) == []
    settled = talk.stops(effects, {("a1", 0): 4321})
    assert sent(settled) == ["conversation.item.truncate", "response.create"]
    assert truncated_at(settled) == [("a1", 0, 4321)]
    assert told(settled) == [down.Interrupted(item="a1", part=0, at_ms=4321)]


def test_a_gateway_that_does_not_say_what_was_heard_is_not_waited_for() -> None:
    """After a fifth of a second the estimate counts: what is received plays from its arrival on, in real time."""
    talk = Talk().ready()
    talk.records(1000)
    talk.answer_begins(ms=8000)
    talk.now += 5.5
    effects = talk.records(300, arrived_ms=1)
    talk.answer_ends(status="cancelled")
    assert talk.conversation.next_wake == pytest.approx(talk.now + STOPPED_WITHIN_S)
    settled = talk.wakes(STOPPED_WITHIN_S)
    assert truncated_at(settled) == [("a1", 0, 5500)]
    assert sent(settled)[-1] == "response.create"
    assert talk.stops(effects, {("a1", 0): 100}) == []  # its word comes too late


def test_an_answer_that_nobody_heard_yet_is_deleted() -> None:
    """Interrupted at its first millisecond an item is deleted, not truncated to nothing."""
    talk = Talk().ready()
    talk.records(1000)
    talk.answer_begins(ms=1000)
    effects = talk.stops(talk.records(300, arrived_ms=1), {("a1", 0): 0})
    assert "conversation.item.delete" in sent(effects)
    assert "conversation.item.truncate" not in sent(effects)


def test_an_answer_that_is_generated_but_still_heard_is_interrupted() -> None:
    """The model is long done while the listener listens: truncate, then ask at once."""
    talk = Talk().ready()
    talk.records(1000)
    talk.answer_begins(ms=4000)
    talk.answer_ends()
    talk.now += 2.0
    effects = talk.records(300)
    assert sent(effects) == ["audio", "input_audio_buffer.commit"]
    assert sent(talk.stops(effects, {("a1", 0): 1990})) == ["conversation.item.truncate", "response.create"]


def test_an_answer_that_was_heard_to_its_end_is_left_alone() -> None:
    """After the last sample was heard, the next recording interrupts nothing, whoever knows it."""
    for heard in ({("a1", 0): 1000}, {}):
        talk = Talk().ready()
        talk.records(1000)
        talk.answer_begins(ms=1000)
        talk.answer_ends()
        talk.now += 3.0
        effects = talk.records(300)
        assert sent(effects) == ["audio", "input_audio_buffer.commit"]
        settled = talk.stops(effects, heard)
        assert sent(settled) == ["response.create"]
        assert told(settled) == []


def test_a_listener_who_lags_is_believed() -> None:
    """By the estimate it was heard to its end a second ago; the gateway knows that it was not."""
    talk = Talk().ready()
    talk.records(1000)
    talk.answer_begins(ms=1000)
    talk.answer_ends()
    talk.now += 2.0
    assert truncated_at(talk.stops(talk.records(300), {("a1", 0): 700})) == [("a1", 0, 700)]


def test_each_item_of_an_answer_is_cut_where_it_was_heard() -> None:
    """A preamble that was heard stays, the message after it is truncated, the one after that deleted."""
    talk = Talk().ready()
    talk.records(1000)
    talk.answer_begins(ms=1000)
    talk.delta(2000, item="a2")
    talk.delta(2000, item="a3")
    ids = {"response_id": "r1", "output_index": 0, "content_index": 0}
    for item in ("a1", "a2"):
        talk.hears({"type": "response.output_audio.done", **ids, "item_id": item})
    settled = talk.stops(talk.records(300, arrived_ms=1), {("a2", 0): 600})
    assert truncated_at(settled) == [("a2", 0, 600)]
    assert sent(settled) == ["conversation.item.truncate", "conversation.item.delete"]
    assert told(settled) == [down.Interrupted("a2", 0, 600), down.Interrupted("a3", 0, 0)]


def test_more_than_was_received_was_never_heard() -> None:
    """The model refuses to truncate behind the end of an item, whatever a client says."""
    talk = Talk().ready()
    talk.records(1000)
    talk.answer_begins(ms=1000)
    assert truncated_at(talk.stops(talk.records(300, arrived_ms=1), {("a1", 0): 99_000})) == [("a1", 0, 1000)]


def test_what_was_heard_of_an_answer_is_remembered_in_words() -> None:
    """Half of the audio is half of the text, in whole words, whether the text came before or after the interruption."""
    text = "one two three four five six seven eight nine ten"
    ids = {"response_id": "r1", "item_id": "a1", "output_index": 0, "content_index": 0}
    transcript = {"type": "response.output_audio_transcript.done", **ids, "transcript": text}
    for early in (True, False):
        talk = Talk().ready()
        talk.records(1000)
        talk.answer_begins(ms=2000)
        effects = []
        if early:
            talk.hears(transcript)
            effects += talk.answer_ends()
        effects += talk.stops(talk.records(300, arrived_ms=1), {("a1", 0): 1000})
        if not early:
            talk.hears(transcript)
            effects += talk.answer_ends(status="cancelled")
        said = [effect.message for effect in effects if isinstance(effect, Record)]
        assert said[-2 if not early else -1] == turns.AssistantSaid("r1", "a1", "one two three four five", heard_ms=1000)


def test_a_socket_that_breaks_during_an_interruption_leaves_it_in_force() -> None:
    """What nobody wanted to hear stays void for every later replay."""
    talk = Talk().ready()
    talk.records(1000)
    talk.answer_begins(ms=4000)
    talk.now += 1.0
    talk.records(300, arrived_ms=1)
    effects = talk.conversation.dialled()
    assert told(effects) == [down.Interrupted("a1", 0, 1000)]
    assert sent(effects) == ["session.update"]


def test_an_answer_interrupted_before_it_began_is_cancelled_when_it_begins() -> None:
    """Asked for, not yet created: its cancel waits for its id, the next wish for its end."""
    talk = Talk().ready()
    talk.records(1000)
    talk.now += 9.0
    assert "response.create" not in sent(talk.records(500))
    assert sent(talk.answer_begins()) == ["response.cancel"]
    assert sent(talk.answer_ends(status="cancelled")) == ["response.create"]


def slices(talk: Talk, count: int) -> list[list[Effect]]:
    """Recordings of a second, each begun when the one before arrived. What is interrupted was heard for half a second."""
    effects = []
    for n in range(count):
        effects.append(talk.records(1000))
        if any(isinstance(effect, Stop) for effect in effects[-1]):
            effects[-1] += talk.stops(effects[-1], {("a1", 0): 500})
        if n < 2:
            talk.committed(f"u{n}")
        if n == 0:
            talk.answer_begins(ms=3000)
        talk.now += 1.0
    return effects


def test_a_second_recording_that_continues_the_first_is_still_a_turn() -> None:
    """Once may be chance: it interrupts, and is committed like any other."""
    _, second = slices(Talk().ready(), 2)
    assert sent(second) == ["response.cancel", "audio", "input_audio_buffer.commit", "conversation.item.truncate"]


def test_from_the_third_slice_on_the_model_finds_the_turns() -> None:
    """Twice in a row: the connection sends slices. What was committed too early is taken back and said again as one."""
    *_, third = slices(Talk().ready(), 3)
    assert sent(third) == ["conversation.item.delete", "conversation.item.delete", "session.update", "again", "audio"]
    assert Reappend(after=EntryId(0, 0), upto=EntryId(1, 4)) in third


def test_a_series_of_slices_that_stops_is_answered() -> None:
    """A client that stops sending in mid-speech has ended its turn, though no silence said so."""
    talk = Talk().ready()
    slices(talk, 3)
    talk.hears({"type": "input_audio_buffer.speech_started", "item_id": "u3", "audio_start_ms": 0})
    talk.hears({"type": "session.updated", "session": {"type": "realtime"}})
    wake = talk.conversation.next_wake
    assert wake is not None
    assert wake == pytest.approx(talk.now - 1.0 + 1.0 + SLICES_END_AFTER_S)
    assert talk.conversation.wake(wake) == [SendAudio(END_OF_SPEECH)]


def test_slices_without_speech_for_the_vad_are_committed_all_the_same() -> None:
    """What the VAD did not take for speech was still sent by a person who waits for an answer."""
    talk = Talk().ready()
    slices(talk, 3)
    talk.answer_ends(status="cancelled")
    wake = talk.conversation.next_wake
    assert wake is not None
    assert "input_audio_buffer.commit" in sent(talk.conversation.wake(wake))


def test_a_recording_after_a_pause_is_a_turn_again() -> None:
    """After slices, a recording that continues nothing goes back to being committed at once."""
    talk = Talk().ready()
    slices(talk, 3)
    talk.answer_ends(status="cancelled")
    talk.now += 20.0
    effects = sent(talk.records(1000))
    assert effects[0] == "session.update"
    assert effects[-2:] == ["input_audio_buffer.commit", "response.create"]


def test_recordings_far_apart_stay_apart() -> None:
    """A recording begun a second after the one before arrived is a turn of its own, and lets go of the older audio."""
    talk = Talk().ready()
    talk.records(1000)
    talk.committed("u1")
    talk.written("u1")
    talk.now += 2.0
    effects = talk.records(1000)
    assert "again" not in sent(effects)
    assert Trim(EntryId(1, 2)) in effects


def test_a_commit_is_remembered_with_its_place_in_pcm() -> None:
    """A takeover must know which samples are in which item."""
    talk = Talk().ready()
    talk.records(1000)
    effects = talk.committed("u1")
    assert Record(turns.Committed(item="u1", pcm_id="1-2", offset=0)) in effects


def test_the_vads_commit_is_found_in_pcm_to_the_sample() -> None:
    """The end of speech lies in the middle of an entry; the remaining audio belongs to what follows."""
    talk = Talk("server_vad").ready()
    for _ in range(3):
        talk.says(pcm.Audio(bytes(1000 * MS)))
    talk.hears({"type": "input_audio_buffer.speech_stopped", "item_id": "u1", "audio_end_ms": 1250})
    effects = talk.committed("u1")
    assert Record(turns.Committed(item="u1", pcm_id="1-2", offset=6000)) in effects


def test_speech_interrupts_what_is_heard_and_cancels_nothing_twice() -> None:
    """With the VAD on, the model stops by itself; truncating what was not heard is ours."""
    talk = Talk("server_vad").ready()
    talk.answer_begins(ms=3000)
    talk.now += 1.25
    effects = talk.hears({"type": "input_audio_buffer.speech_started", "item_id": "u1", "audio_start_ms": 0})
    assert sent(effects) == []
    assert told(talk.delta(100)) == []
    settled = talk.stops(effects, {("a1", 0): 1230})
    assert truncated_at(settled) == [("a1", 0, 1230)]
    assert told(settled) == [down.Interrupted(item="a1", part=0, at_ms=1230)]


def test_silence_that_the_vad_ignores_is_let_go() -> None:
    """While nobody speaks, the last 15 s are kept, and what is older let go in pieces of 5 s: not frame by frame."""
    talk = Talk("server_vad").ready()
    trims = [effect for _ in range(20) for effect in talk.says(pcm.Audio(bytes(1000 * MS))) if isinstance(effect, Trim)]
    assert trims == [Trim(EntryId(1, 5))]


def test_an_utterance_without_end_is_committed() -> None:
    """Speech that has been open for two minutes is answered."""
    talk = Talk("server_vad").ready()
    talk.hears({"type": "input_audio_buffer.speech_started", "item_id": "u1", "audio_start_ms": 0})
    effects = [name for _ in range(121) for name in sent(talk.says(pcm.Audio(bytes(1000 * MS))))]
    assert effects.count("input_audio_buffer.commit") == 1


def test_a_persona_of_the_same_voice_is_a_new_configuration_and_greets() -> None:
    """session.update first; when it is there the client is told and the persona greets, with its own words."""
    talk = Talk().ready()
    assert sent(talk.says(SetPersona("moon"))) == ["session.update"]
    effects = talk.hears({"type": "session.updated", "session": {"type": "realtime"}})
    assert told(effects) == [down.PersonaSet(persona="moon")]
    (create,) = [effect.event for effect in effects if isinstance(effect, Send)]
    assert msgspec.to_builtins(create)["response"] == {"instructions": "Be cool.\n\nSay good night."}


def test_another_voice_after_speech_is_another_socket() -> None:
    """The model refuses another voice once it has spoken; the new one greets on a fresh socket."""
    talk = Talk().ready()
    talk.records(1000)
    talk.answer_begins(ms=1000)
    talk.answer_ends()
    talk.now += 2.0
    assert Redial() in talk.says(SetPersona("mars"))
    assert not talk.conversation.ready
    assert sent(talk.conversation.dialled()) == ["session.update"]
    effects = talk.hears({"type": "session.updated", "session": {"type": "realtime"}})
    assert told(effects) == [down.PersonaSet(persona="mars")]
    assert sent(effects) == ["response.create"]


def test_another_voice_before_any_speech_needs_no_other_socket() -> None:
    """Nothing was spoken yet: a new configuration is enough."""
    assert sent(Talk().ready().says(SetPersona("mars"))) == ["session.update"]


def test_an_unknown_persona_is_named_with_the_known_ones() -> None:
    """The person reads what there is to choose from, and the session goes on as it was."""
    (failed,) = told(Talk().ready().says(SetPersona("pluto")))
    assert isinstance(failed, down.Failed)
    assert "pluto" in failed.message
    assert "sun, moon, mars" in failed.message


def test_the_persona_asked_for_at_the_door_is_there_from_the_start() -> None:
    """No greeting for it: the contract greets on config only."""
    talk = Talk(persona="moon")
    (configure,) = talk.conversation.dialled()
    assert isinstance(configure, Send)
    assert msgspec.to_builtins(configure.event)["session"]["instructions"] == "Be cool."
    assert sent(talk.hears({"type": "session.updated", "session": {"type": "realtime"}})) == []


@pytest.mark.parametrize("code", ["response_cancel_not_active", "item_delete_invalid_item_id"])
def test_races_that_mend_themselves_are_not_told(code: str) -> None:
    """Cancelling what is done and deleting what is gone concern nobody."""
    assert Talk().ready().hears({"type": "error", "error": {"type": "invalid_request_error", "code": code}}) == []


def test_a_fatal_error_ends_the_session_with_its_reason() -> None:
    """No quota: say so, and stop."""
    error = {"type": "invalid_request_error", "code": "insufficient_quota", "message": "You ran out."}
    effects = Talk().ready().hears({"type": "error", "error": error})
    assert effects == [Say(down.Failed(code="insufficient_quota", message="You ran out.")), Finish("insufficient_quota")]


def test_a_refused_first_configuration_ends_the_session() -> None:
    """Nothing can be said to a model that was not configured."""
    talk = Talk()
    talk.conversation.dialled()
    error = {"type": "invalid_request_error", "code": "invalid_value", "message": "No such voice."}
    assert Finish("invalid_value") in talk.hears({"type": "error", "error": error})


def test_a_server_that_fails_before_it_is_configured_is_dialled_again() -> None:
    """It does not refuse what it was told; in mid-session it is heard on."""
    error = {"type": "server_error", "message": "The server had an error."}
    talk = Talk()
    talk.conversation.dialled()
    assert talk.hears({"type": "error", "error": error}) == [Break("server_error", "The server had an error.")]
    assert not [effect for effect in Talk().ready().hears({"type": "error", "error": error}) if isinstance(effect, Break)]


def test_a_busy_model_is_asked_again() -> None:
    """`conversation_already_has_active_response`: wait for the active one's end, then ask once more."""
    talk = Talk().ready()
    talk.records(1000)
    error = {"type": "invalid_request_error", "code": "conversation_already_has_active_response"}
    assert talk.hears({"type": "error", "error": error}) == []
    assert sent(talk.answer_ends(response="somebody's")) == ["response.create"]


def test_an_answer_that_does_not_begin_is_told() -> None:
    """Thirty seconds after asking, the person is told instead of waiting for ever."""
    talk = Talk().ready()
    talk.records(1000)
    wake = talk.conversation.next_wake
    assert wake == talk.now + 30
    (failed,) = told(talk.conversation.wake(wake))
    assert isinstance(failed, down.Failed)
    assert failed.code == "no_answer"


def test_the_models_events_go_on_to_the_client_in_its_own_words() -> None:
    """All but audio (which goes as audio) and the session's own."""
    talk = Talk().ready()
    (event,) = told(talk.hears({"type": "response.output_audio_transcript.delta", "delta": "Hel"}))
    assert isinstance(event, down.ServerEvent)
    assert msgspec.json.decode(event.body)["delta"] == "Hel"
    (unknown,) = told(talk.hears({"type": "response.brand_new", "x": 1}))
    assert isinstance(unknown, down.ServerEvent)
    assert unknown.type == "response.brand_new"


def test_the_rest_of_the_audio_goes_before_the_end_of_the_answer() -> None:
    """Samples that did not fill a millisecond are not left behind, and come before response.done."""
    talk = Talk().ready()
    talk.answer_begins()
    audio = pybase64.b64encode(bytes(10 * MS + 6)).decode()
    ids = {"response_id": "r1", "item_id": "a1", "output_index": 0, "content_index": 0}
    talk.hears({"type": "response.output_audio.delta", **ids, "delta": audio})
    last, done = told(talk.answer_ends())
    assert isinstance(last, down.Audio)
    assert (last.start_ms, len(last.audio)) == (10, 6)
    assert isinstance(done, down.ServerEvent)


def test_text_is_a_turn() -> None:
    """Typed text becomes a user item and is answered."""
    effects = Talk().ready().says(Text("hello"))
    assert sent(effects) == ["conversation.item.create", "response.create"]


def test_an_explicit_commit_is_a_turn() -> None:
    """A streaming client that says where its turn ends is answered there."""
    talk = Talk("server_vad").ready()
    talk.says(pcm.Audio(bytes(500 * MS)))
    assert sent(talk.says(Commit())) == ["input_audio_buffer.commit", "response.create"]


def test_the_end_is_the_end() -> None:
    """The client's end ends the session."""
    assert Talk().ready().says(End("client_gone")) == [Finish("client_gone")]


GOODBYE = End("client_ended", after_answer=True)


def streaming() -> Talk:
    return Talk("server_vad").ready()


def test_a_goodbye_after_nothing_ends_the_session_as_soon_as_it_is_quiet() -> None:
    talk = streaming()
    assert not talk.says(GOODBYE)
    assert talk.conversation.next_wake == talk.now + SETTLE_S
    assert not talk.wakes(SETTLE_S - 0.1)
    assert talk.wakes(0.1) == [Finish("client_ended")]


def test_a_goodbye_in_mid_speech_is_a_commit_and_waits_for_the_answer() -> None:
    talk = streaming()
    talk.says(pcm.Audio(bytes(500 * MS)))
    talk.hears({"type": "input_audio_buffer.speech_started", "audio_start_ms": 0, "item_id": "u1"})
    assert sent(talk.says(GOODBYE)) == ["input_audio_buffer.commit", "response.create"]
    talk.committed("u1")
    talk.answer_begins(ms=200)
    assert not talk.wakes(60)
    talk.answer_ends()
    assert talk.wakes(SETTLE_S) == [Finish("client_ended")]


def test_what_the_vad_has_not_heard_yet_by_the_goodbye_is_answered_too() -> None:
    talk = streaming()
    talk.says(pcm.Audio(bytes(500 * MS)))
    assert talk.says(GOODBYE) == [SendAudio(END_OF_SPEECH)]
    talk.hears({"type": "input_audio_buffer.speech_started", "audio_start_ms": 0, "item_id": "u1"})
    talk.now += 1
    talk.hears({"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 500, "item_id": "u1"})
    talk.committed("u1")
    assert not talk.wakes(SETTLE_S - 0.1)
    talk.answer_begins(ms=200)
    assert not talk.wakes(60)
    talk.answer_ends()
    assert talk.wakes(SETTLE_S) == [Finish("client_ended")]


def test_a_speech_without_an_end_is_committed_after_the_goodbye() -> None:
    talk = streaming()
    talk.says(pcm.Audio(bytes(500 * MS)))
    talk.says(GOODBYE)
    talk.hears({"type": "input_audio_buffer.speech_started", "audio_start_ms": 0, "item_id": "u1"})
    assert sent(talk.wakes(SETTLE_S)) == ["input_audio_buffer.commit", "response.create"]


def test_nothing_counts_that_is_said_after_the_goodbye() -> None:
    talk = streaming()
    talk.says(GOODBYE)
    assert not talk.says(pcm.Audio(bytes(500 * MS)))


def test_an_answer_without_end_is_broken_off() -> None:
    talk = streaming()
    talk.says(pcm.Audio(bytes(500 * MS)))
    talk.hears({"type": "input_audio_buffer.speech_started", "audio_start_ms": 0, "item_id": "u1"})
    talk.says(GOODBYE)
    talk.answer_begins(ms=200)
    assert talk.wakes(AT_MOST_S) == [Finish("client_ended")]


@pytest.mark.parametrize(("filled", "silence_ms"), [(False, 300), (True, 0)])
def test_a_hole_is_told_and_is_silence_once(filled: bool, silence_ms: int) -> None:
    """Also where the transcoder has put the silence in its place already."""
    talk = Talk("server_vad").ready()
    *silence, told = talk.says(pcm.Gap(missing_ms=400, filled=filled))
    assert [len(effect.audio) // MS for effect in silence if isinstance(effect, SendAudio)] == [silence_ms][: len(silence)]
    assert bool(silence) is not filled
    assert isinstance(told, Say)
    assert isinstance(told.message, down.Failed)
    assert told.message.code == "damaged_media"
    assert told.message.pcm_id == "1-1"


def test_a_hole_that_another_bridge_has_told_of_is_silence_again() -> None:
    """Nobody was asked about it yet, so it is said again; the client knows of this one, and not of the next."""
    rebuilt = Rebuilt(turns.Opened(user="ann", door="mobile", turn_mode="server_vad"), told_to=EntryId(1, 1))
    talk = Talk("server_vad", rebuilt=rebuilt).ready()
    assert sent(talk.says(pcm.Gap(missing_ms=200, filled=False))) == ["audio"]
    assert told(talk.says(pcm.Gap(missing_ms=200, filled=True))) != []


@pytest.mark.parametrize(("deaf_ms", "heard"), [(0, [1, 1, 1, 1]), (500, [0, 1, 1, 1]), (None, [0, 0, 0, 1])])
def test_an_echo_does_not_interrupt_its_own_answer(deaf_ms: int | None, heard: list[int]) -> None:
    """For as long as the persona says the microphone counts as silent; not a sample of the model's audio clock is lost."""
    persona = Persona(instructions="i", voice="marin", deaf_ms=deaf_ms)
    opened = turns.Opened(user="ann", door="watch", turn_mode="server_vad")
    talk = Talk("server_vad")
    talk.conversation = Conversation(opened, Personas(MappingProxyType({"p": persona}), "p"), None)
    talk.ready()
    talk.answer_begins(ms=2000)
    came = []
    for after_s in (0.1, 0.9, 1.0, 1.0):
        talk.now += after_s
        (effect,) = talk.says(pcm.Audio(b"\1\2" * 480))
        assert isinstance(effect, SendAudio)
        assert len(effect.audio) == 960
        came.append(int(any(effect.audio)))
    assert came == heard
