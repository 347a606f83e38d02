from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import voice
from simulator.answers import Call, CallFirst, Echo, tone
from simulator.options import Options
from simulator.orders import silence, speech
from simulator.script import look_up
from simulator.wire import Json, Object, audio_bytes, audio_text, encode
from tests.unit.simulator.talking import Talk

SPEECH = audio_bytes(speech(1.0), "")
SILENCE = audio_bytes(silence(1.0), "")
USER_TEXT = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Good morning."}]}


def types(events: list[Object]) -> list[Json]:
    return [event["type"] for event in events]


def only(events: list[Object], kind: str) -> Object:
    (event,) = (event for event in events if event["type"] == kind)
    return event


def sound(events: list[Object]) -> bytes:
    """All audio in these events."""
    deltas = (event["delta"] for event in events if event["type"] == "response.output_audio.delta")
    return b"".join(audio_bytes(str(delta), "") for delta in deltas)


def error(events: list[Object]) -> Json:
    return look_up(only(events, "error"), "error.code")


def test_created() -> None:
    """the first event is the whole session, with the time of its end."""
    talk = Talk(Options(session_s=90))
    session = only(talk.log, "session.created")["session"]
    assert isinstance(session, dict)
    assert session["expires_at"] == 1_700_000_090
    assert session["model"] == "gpt-realtime-2.1"
    assert look_up(session, "audio.input.turn_detection.type") == "server_vad"


def test_expiry() -> None:
    """a session is closed as going away when its time is over, not before."""
    talk = Talk(Options(session_s=90))
    talk.wait(89.9)
    assert talk.closed is None
    talk.wait(0.2)
    assert talk.closed is not None
    assert talk.closed.code == 1001


@given(st.binary(max_size=2_000), st.lists(st.integers(1, 2_000), max_size=8))
def test_echo_of_any_split(audio: bytes, sizes: list[int]) -> None:
    """however an utterance is split into appends, its echo is the same, sample for sample."""
    talk = Talk(Options(speed=0, odd_deltas=True))
    talk.push_to_talk()
    audio = SPEECH[:4_800] + audio
    start = 0
    for size in [*sizes, len(audio)]:
        talk.append(audio[start : start + size])
        start += size
    talk.say("input_audio_buffer.commit")
    answer = talk.say("response.create")
    assert sound(answer) == audio[: len(audio) // 2 * 2]
    assert list(talk.session.recording.utterances) == [sound(answer)]
    transcript = only(answer, "response.output_audio_transcript.done")["transcript"]
    assert transcript == f"I heard {len(audio) // 2 / 24_000:.3f} seconds ({len(audio) // 2} samples)."


def test_voice_turn(instant: Talk) -> None:
    """with turn detection, what is committed and echoed begins with the padding and ends with the silence."""
    instant.append(SILENCE)
    started = only(instant.append(SPEECH), "input_audio_buffer.speech_started")
    events = instant.append(SILENCE)
    assert started["audio_start_ms"] == 700
    assert only(events, "input_audio_buffer.speech_stopped")["audio_end_ms"] == 2500
    assert only(events, "input_audio_buffer.committed")["item_id"] == started["item_id"]
    assert sound(events) == bytes(300 * 48) + SPEECH + bytes(500 * 48)


def test_own_sentence(instant: Talk) -> None:
    """an utterance is echoed once; asked again, the simulator speaks for itself."""
    instant.push_to_talk()
    instant.append(SPEECH)
    instant.say("input_audio_buffer.commit")
    assert sound(instant.say("response.create")) == SPEECH
    events = instant.say("response.create")
    assert sound(events) == voice.hello()
    assert only(events, "response.output_audio_transcript.done")["transcript"] == voice.SENTENCE


def test_pace() -> None:
    """deltas come in even steps, at the speed that was asked for, the words ahead of the sound."""
    talk = Talk(Options(speed=5.0, delta_ms=200, answer=tone(440, 2.0)))
    talk.push_to_talk()
    heard = talk.say("response.create")
    assert len(sound(heard)) == 200 * 48
    for _ in range(9):
        assert not sound(talk.wait(0.039))
        heard = talk.wait(0.001)
        assert len(sound(heard)) == 200 * 48
    assert types(heard)[-1] == "response.done"
    kinds = types(talk.log)
    last_word = max(i for i, kind in enumerate(kinds) if kind == "response.output_audio_transcript.delta")
    sounds_after = kinds[last_word:].count("response.output_audio.delta")
    assert sounds_after >= 3


def test_think() -> None:
    """with time to think, a response that is interrupted before its first word costs nothing."""
    talk = Talk(Options(think_s=1.0))
    talk.append(SPEECH)
    assert types(talk.append(SILENCE))[-1] == "response.created"
    events = talk.append(SPEECH)
    assert types(events) == ["input_audio_buffer.speech_started", "response.done"]
    done = only(events, "response.done")
    assert look_up(done, "response.status_details") == {"type": "cancelled", "reason": "turn_detected"}
    assert look_up(done, "response.usage.total_tokens") == 0
    assert types(talk.settle()) == ["rate_limits.updated"]


def test_interruption_tells_what_was_said() -> None:
    """the transcript of an interrupted answer is what was sent of it, and its usage too."""
    talk = Talk(Options(speed=1.0, answer=tone(440, 10)))
    talk.push_to_talk()
    talk.say("response.create")
    talk.wait(0.4)
    events = talk.say("response.cancel")
    words = "".join(str(e["delta"]) for e in talk.log if e["type"] == "response.output_audio_transcript.delta")
    assert only(events, "response.output_audio_transcript.done")["transcript"] == words
    done = only(events, "response.done")
    assert look_up(done, "response.status_details.reason") == "client_cancelled"
    assert look_up(done, "response.output.0.status") == "incomplete"
    assert look_up(done, "response.usage.output_token_details.audio_tokens") == 12
    assert not sound(talk.settle())


def test_no_interruption_when_not_wanted() -> None:
    """interrupt_response false lets the answer go on; the automatic answer to the interruption is refused."""
    talk = Talk(Options(speed=1.0, answer=tone(440, 60)))
    talk.update(audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}})
    talk.append(SPEECH + SILENCE)
    events = talk.append(SPEECH + SILENCE)
    assert "response.done" not in types(events)
    assert error(events) == "conversation_already_has_active_response"


def test_turns_without_answers(instant: Talk) -> None:
    """with both booleans false, turns are detected and committed, and nothing else happens."""
    quiet = {"type": "server_vad", "create_response": False, "interrupt_response": False}
    instant.update(audio={"input": {"turn_detection": quiet}})
    assert types(instant.append(SPEECH + SILENCE))[-1] == "conversation.item.done"


def test_semantic_turn_detection(instant: Talk) -> None:
    """semantic_vad is taken, and waits the longer the less eager it is."""
    for eagerness, silences in (("high", 1), ("auto", 1), ("low", 2)):
        instant.update(audio={"input": {"turn_detection": {"type": "semantic_vad", "eagerness": eagerness}}})
        instant.append(SPEECH)
        for _ in range(silences - 1):
            assert not instant.append(SILENCE)
        assert types(instant.append(SILENCE))[0] == "input_audio_buffer.speech_stopped"
        instant.settle()


def test_commit_during_speech(instant: Talk) -> None:
    """a manual commit ends the turn that goes on, under the id it was announced with."""
    started = only(instant.append(SPEECH), "input_audio_buffer.speech_started")
    events = instant.say("input_audio_buffer.commit")
    assert only(events, "input_audio_buffer.committed")["item_id"] == started["item_id"]
    assert "input_audio_buffer.speech_stopped" not in types(instant.append(SILENCE))
    assert list(instant.session.recording.utterances) == [SPEECH]


def test_commit_empty(instant: Talk) -> None:
    """a commit of less than 100 ms is refused with what there is."""
    instant.push_to_talk()
    instant.append(bytes(480))
    events = instant.say("input_audio_buffer.commit", event_id="c1")
    refusal = only(events, "error")["error"]
    assert isinstance(refusal, dict)
    assert (refusal["code"], refusal["event_id"]) == ("input_audio_buffer_commit_empty", "c1")
    assert "10.00ms" in str(refusal["message"])


def test_clear_during_speech(instant: Talk) -> None:
    """a cleared buffer forgets the turn."""
    instant.append(SPEECH)
    assert types(instant.say("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    assert not instant.append(SILENCE)


def test_live_echo() -> None:
    """a live echo answers each append with the very same text, in one response without end."""
    talk = Talk(Options(answer=Echo(live=True)))
    first = talk.append(SPEECH)
    assert types(first) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio.delta",
    ]
    assert sound(first) == SPEECH
    assert types(talk.append(SILENCE)) == ["response.output_audio.delta"]
    assert error(talk.say("response.create")) == "conversation_already_has_active_response"
    done = only(talk.say("response.cancel"), "response.done")
    assert look_up(done, "response.usage.output_token_details.audio_tokens") == 40
    assert types(talk.append(SPEECH)) == types(first)


def test_long_live_echo() -> None:
    """a live echo can go on for longer than the input buffer is long."""
    talk = Talk(Options(answer=Echo(live=True)))
    for _ in range(11):
        assert len(sound(talk.append(bytes(60 * 48_000)))) == 60 * 48_000


def test_live_echo_between_formats() -> None:
    """a live echo in another format is converted on its way."""
    talk = Talk(Options(answer=Echo(live=True)))
    talk.update(audio={"output": {"format": {"type": "audio/pcmu"}}})
    assert len(sound(talk.append(SPEECH))) == 8_000


def test_max_output_tokens(instant: Talk) -> None:
    """an answer that becomes too long is cut, and says so."""
    events = instant.say("response.create", response={"max_output_tokens": 20})
    done = only(events, "response.done")
    assert look_up(done, "response.status") == "incomplete"
    assert look_up(done, "response.status_details.reason") == "max_output_tokens"
    assert look_up(done, "response.output.0.status") == "incomplete"
    assert 0 < len(sound(events)) < 48_000


def test_written_answer(instant: Talk) -> None:
    """in text, the answer is the transcript."""
    instant.update(output_modalities=["text"])
    instant.say("conversation.item.create", item=USER_TEXT)
    events = instant.say("response.create")
    assert only(events, "response.output_text.done")["text"] == voice.SENTENCE
    assert look_up(only(events, "response.done"), "response.output.0.content.0.type") == "output_text"
    assert not sound(events)


def test_telephone_audio(instant: Talk) -> None:
    """µ-law in is µ-law out, byte for byte; another format out is converted."""
    telephone = {"type": "audio/pcmu"}
    codes = bytes(range(256)) * 8
    instant.update(audio={"input": {"format": telephone, "turn_detection": None}, "output": {"format": telephone}})
    for output, length in ((telephone, len(codes)), ({"type": "audio/pcm", "rate": 24_000}, 6 * len(codes))):
        instant.append(codes)
        instant.say("input_audio_buffer.commit")
        answer = sound(instant.say("response.create", response={"audio": {"output": {"format": output}}}))
        assert len(answer) == length
    assert "2048 samples" in str(only(instant.log[-9:], "response.output_audio_transcript.done")["transcript"])


def test_out_of_band() -> None:
    """a response out of band runs beside the other and leaves no trace in the conversation."""
    talk = Talk(Options(speed=1.0))
    talk.push_to_talk()
    talk.say("response.create")
    events = talk.say(
        "response.create",
        response={"conversation": "none", "output_modalities": ["text"], "metadata": {"topic": "title"}, "input": []},
    )
    created = only(events, "response.created")
    assert (look_up(created, "response.conversation_id"), look_up(created, "response.metadata.topic")) == (None, "title")
    assert "conversation.item.added" not in types(events)
    done = [event for event in talk.settle() if event["type"] == "response.done"]
    assert [look_up(event, "response.metadata") for event in done] == [{"topic": "title"}, None]
    assert len(talk.session.conversation.items) == 1


def test_second_response() -> None:
    """the default conversation has one response at a time, and says which."""
    talk = Talk(Options(speed=1.0))
    talk.push_to_talk()
    active = look_up(only(talk.say("response.create"), "response.created"), "response.id")
    events = talk.say("response.create", event_id="again")
    assert error(events) == "conversation_already_has_active_response"
    assert str(active) in str(look_up(only(events, "error"), "error.message"))


def test_input_of_a_response(instant: Talk) -> None:
    """a response can be made from items of its own, or from items of the conversation."""
    instant.push_to_talk()
    instant.append(SPEECH)
    item_id = only(instant.say("input_audio_buffer.commit"), "input_audio_buffer.committed")["item_id"]
    part = {"type": "input_audio", "audio": audio_text(SILENCE)}
    own = [{"type": "message", "role": "user", "content": [part]}]
    assert sound(instant.say("response.create", response={"conversation": "none", "input": own})) == SILENCE
    reference = encode(
        {
            "type": "response.create",
            "response": {"conversation": "none", "input": [{"type": "item_reference", "id": item_id}]},
        }
    )
    assert sound(instant.say_raw(reference)) == SPEECH
    assert sound(instant.say("response.create")) == SPEECH
    assert error(instant.say_raw(reference.replace(str(item_id).encode(), b"item_gone"))) == "invalid_value"


def test_user_audio_as_an_item(instant: Talk) -> None:
    """audio can also come in an item, and is echoed like any other."""
    part = {"type": "input_audio", "audio": audio_text(SPEECH)}
    events = instant.say("conversation.item.create", item={"type": "message", "role": "user", "content": [part]})
    assert look_up(only(events, "conversation.item.added"), "item.content.0") == {
        "type": "input_audio",
        "transcript": None,
    }
    assert sound(instant.say("response.create")) == SPEECH


def test_an_earlier_answer_told_again(instant: Talk) -> None:
    """what is put in front of a question answers nothing: the question is heard, as by the model."""
    words: Object = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Good mor"}]}
    instant.push_to_talk()
    instant.say("conversation.item.create", item={**words, "id": "item_earlier"})
    instant.append(SPEECH)
    instant.say("input_audio_buffer.commit")
    instant.say("conversation.item.create", item=words, previous_item_id="item_earlier")
    assert sound(instant.say("response.create")) == SPEECH


def test_retrieve(instant: Talk) -> None:
    """only a retrieved item has its audio."""
    instant.push_to_talk()
    instant.append(SPEECH)
    item_id = only(instant.say("input_audio_buffer.commit"), "input_audio_buffer.committed")["item_id"]
    item = only(instant.say("conversation.item.retrieve", item_id=item_id), "conversation.item.retrieved")
    assert look_up(item, "item.content.0.audio") == audio_text(SPEECH)
    assert error(instant.say("conversation.item.retrieve", item_id="item_gone")) == "item_retrieve_invalid_item_id"


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        (
            {"type": "message", "role": "assistant", "content": [{"type": "output_audio", "transcript": "Hi."}]},
            "missing_required_parameter",
            "item.content[0].text",
        ),
        (
            {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hi."}]},
            "invalid_value",
            "item.content[0].type",
        ),
        ({"type": "message", "role": "developer", "content": []}, "invalid_value", "item.role"),
        ({"type": "message", "role": "user"}, "missing_required_parameter", "item.content"),
        (
            {"type": "message", "role": "system", "content": [{"type": "input_audio", "audio": ""}]},
            "invalid_value",
            "item.content[0].type",
        ),
        (
            {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "no base64"}]},
            "invalid_value",
            "item.content[0].audio",
        ),
        ({"type": "function_call_output", "call_id": "call_gone", "output": ""}, "invalid_tool_call_id", "item.call_id"),
        ({"role": "user"}, "missing_required_parameter", "item.type"),
        ({**USER_TEXT, "id": "i" * 33}, "string_above_max_length", "item.id"),
    ],
)
def test_items_refused(instant: Talk, item: Object, code: str, param: str) -> None:
    """what a client may not put into a conversation is refused by role and type."""
    events = instant.say_raw(encode({"type": "conversation.item.create", "event_id": "e", "item": item}))
    refusal = only(events, "error")["error"]
    assert isinstance(refusal, dict)
    assert (refusal["code"], refusal["param"], refusal["event_id"]) == (code, param, "e")
    assert not instant.session.conversation.items


def test_replay(instant: Talk) -> None:
    """a client can put a whole history back, with ids of its own and in any place."""
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]}
    call = {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "call_1"}
    for item in ({**USER_TEXT, "id": "a"}, {**said, "id": "b"}, {**call, "id": "c"}):
        instant.say("conversation.item.create", item=item)
    instant.say("conversation.item.create", item={"type": "function_call_output", "call_id": "call_1", "output": "1"})
    summary = {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "So far: nothing."}]}
    added = instant.say("conversation.item.create", item={**summary, "id": "s"}, previous_item_id="root")
    assert [item.id for item in instant.session.conversation.items][:4] == ["s", "a", "b", "c"]
    assert only(added, "conversation.item.added")["previous_item_id"] is None


def test_truncated_while_spoken() -> None:
    """what is truncated before the answer ends keeps no transcript, and no more than was generated can be kept."""
    talk = Talk(Options(speed=1.0, answer=tone(440, 10)))
    talk.push_to_talk()
    item_id = look_up(only(talk.say("response.create"), "response.output_item.added"), "item.id")
    place = {"item_id": item_id, "content_index": 0}
    assert error(talk.say("conversation.item.truncate", **place, audio_end_ms=201)) == "invalid_value"
    assert types(talk.say("conversation.item.truncate", **place, audio_end_ms=150)) == ["conversation.item.truncated"]
    done = only(talk.say("response.cancel"), "conversation.item.done")
    assert look_up(done, "item.content") == [{"type": "output_audio"}]


def test_deleted_while_spoken() -> None:
    """an item that is deleted before its response ends is not announced as done."""
    talk = Talk(Options(speed=1.0))
    talk.push_to_talk()
    item_id = look_up(only(talk.say("response.create"), "response.output_item.added"), "item.id")
    assert types(talk.say("conversation.item.delete", item_id=item_id)) == ["conversation.item.deleted"]
    events = talk.settle()
    assert "conversation.item.done" not in types(events)
    assert look_up(only(events, "response.done"), "response.status") == "completed"


@pytest.mark.parametrize(("model", "usage"), [("whisper-1", "duration"), ("gpt-transcribe", "tokens")])
def test_transcription(model: str, usage: str) -> None:
    """the user's words come later than the answer, by the id of the turn, with a bill of their own."""
    talk = Talk(Options(speed=0, transcription_delay_s=2.0))
    talk.update(audio={"input": {"transcription": {"model": model}}})
    item_id = only(talk.append(SPEECH + SILENCE), "input_audio_buffer.committed")["item_id"]
    assert types(talk.wait(1.9)) == ["rate_limits.updated"]
    events = talk.wait(0.2)
    completed = only(events, "conversation.item.input_audio_transcription.completed")
    assert (completed["item_id"], completed["transcript"]) == (item_id, "You spoke for 1.500 seconds (36000 samples).")
    assert look_up(completed, "usage.type") == usage


def test_usage(instant: Talk) -> None:
    """ten tokens a second heard, twenty a second said, and what was read before is cached."""
    instant.push_to_talk()
    for turn in (1, 2):
        instant.append(SPEECH)
        instant.say("input_audio_buffer.commit")
        usage = look_up(only(instant.say("response.create"), "response.done"), "response.usage")
        assert look_up({"usage": usage}, "usage.output_token_details.audio_tokens") == 20
        assert look_up({"usage": usage}, "usage.input_token_details.audio_tokens") == 10 * turn + 20 * (turn - 1)
        cached = look_up({"usage": usage}, "usage.input_token_details.cached_tokens_details.audio_tokens")
        assert cached == 10 * (turn - 1)


def test_function_call(instant: Talk) -> None:
    """functions are called side by side; with their outputs the user is answered."""
    calls = (Call("weather", '{"city":"Bonn"}'), Call("time", "{}"))
    talk = Talk(Options(speed=0, answer=CallFirst(calls)))
    done = only(talk.append(SPEECH + SILENCE), "response.done")
    call_ids = [look_up(done, f"response.output.{index}.call_id") for index in range(2)]
    for call_id in call_ids:
        talk.say("conversation.item.create", item={"type": "function_call_output", "call_id": call_id, "output": "fine"})
    assert "1.500 seconds" in str(only(talk.say("response.create"), "response.output_audio_transcript.done"))
    chosen = talk.say("response.create", response={"tool_choice": "none"})
    assert sound(chosen) == voice.hello()


def test_voice_is_settled(instant: Talk) -> None:
    """after the first audio the voice cannot be changed; other settings can."""
    instant.update(audio={"output": {"voice": "cedar"}})
    instant.say("response.create")
    assert error(instant.update(audio={"output": {"voice": "marin"}}, instructions="x")) == "cannot_update_voice"
    assert types(instant.update(audio={"output": {"speed": 1.2}})) == ["session.updated"]


def test_idle_timeout_is_void_when_the_user_speaks() -> None:
    """who speaks in time is not asked whether he is still there."""
    talk = Talk(Options(speed=0, answer=tone(440, 1.0)))
    detection = {"type": "server_vad", "idle_timeout_ms": 5_000, "create_response": False}
    talk.update(audio={"input": {"turn_detection": detection}})
    talk.say("response.create")
    talk.wait(5.9)
    talk.append(SPEECH)
    assert "input_audio_buffer.timeout_triggered" not in types(talk.wait(10))


@pytest.mark.parametrize(
    ("frame", "code", "param"),
    [
        (b"{", "invalid_json", None),
        (b"\xff\xfe", "invalid_json", None),
        (b"[1]", "invalid_event", None),
        (b'{"type":"session.update","session":' + b'{"tools":' * 900 + b"0" + b"}" * 901, "invalid_json", None),
        (b'{"type":"session.update","session":' + b'{"tools":' * 90000 + b"0" + b"}" * 90001, "invalid_json", None),
        (
            b'{"type":"conversation.item.truncate","item_id":"a","content_index":0,"audio_end_ms":' + b"9" * 400 + b"}",
            "invalid_value",
            "audio_end_ms",
        ),
        (b"{}", "missing_required_parameter", "type"),
        (b'{"type":7}', "invalid_type", "type"),
        (b'{"type":"output_audio_buffer.clear"}', "invalid_event", "type"),
        (b'{"type":"response.create","response":{"modalities":["text"]}}', "unknown_parameter", "response.modalities"),
        (b'{"type":"response.create","response":{"metadata":{"a":1}}}', "invalid_type", "response.metadata.a"),
        (b'{"type":"input_audio_buffer.append","audio":"***="}', "invalid_value", "audio"),
        (b'{"type":"input_audio_buffer.append","audio":"\xc3\xa4"}', "invalid_value", "audio"),
        (b'{"type":"input_audio_buffer.append"}', "missing_required_parameter", "audio"),
        (b'{"type":"session.update","session":null}', "invalid_type", "session"),
        (
            b'{"type":"conversation.item.truncate","item_id":"a","content_index":0,"audio_end_ms":-1}',
            "integer_below_min_value",
            "audio_end_ms",
        ),
    ],
)
def test_mistakes(instant: Talk, frame: bytes, code: str, param: str | None) -> None:
    """a mistake is told by its code and its place, and the session goes on."""
    refusal = only(instant.say_raw(frame), "error")["error"]
    assert isinstance(refusal, dict)
    assert (refusal["type"], refusal["code"], refusal["param"]) == ("invalid_request_error", code, param)
    assert types(instant.say("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]


def test_binary(instant: Talk) -> None:
    """a binary frame is refused, not fatal."""
    instant.session.receive_binary(instant.now)
    assert error(instant.hear()) == "invalid_event"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "type",
        "session",
        "audio",
        "input",
        "output",
        "item",
        "item_id",
        "content",
        "role",
        "text",
        "response",
        "conversation",
        "metadata",
        "tools",
        "format",
        "turn_detection",
        "content_index",
        "audio_end_ms",
        "previous_item_id",
        "event_id",
        "response_id",
        "call_id",
        "id",
    ]
)
WORDS = st.sampled_from(
    [
        "realtime",
        "message",
        "user",
        "assistant",
        "none",
        "auto",
        "server_vad",
        "semantic_vad",
        "input_audio",
        "output_audio",
        "function_call_output",
        "item_reference",
        "audio/pcm",
        "AAAA",
        "root",
        "function_call",
    ]
)
LIKELY = st.recursive(
    JSON | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)
KINDS = st.sampled_from(
    [
        "session.update",
        "input_audio_buffer.append",
        "input_audio_buffer.commit",
        "input_audio_buffer.clear",
        "conversation.item.create",
        "conversation.item.retrieve",
        "conversation.item.truncate",
        "conversation.item.delete",
        "response.create",
        "response.cancel",
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(KINDS, st.dictionaries(KEYS, LIKELY, max_size=5)), max_size=6))
def test_garbage(garbage: list[tuple[str, dict[str, Json]]]) -> None:
    """whatever a client sends, all answers are known to the official types, and the session lives on."""
    talk = Talk(Options(speed=0))
    for kind, fields in garbage:
        talk.say_raw(encode({**fields, "type": kind}))
    talk.settle()
    assert types(talk.say("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]


@settings(max_examples=100)
@given(st.binary(max_size=100))
def test_noise_on_the_wire(frame: bytes) -> None:
    """no bytes in a text frame can end a session."""
    talk = Talk(Options(speed=0))
    assert types(talk.say_raw(frame)) == ["error"]


def test_random_noise_as_audio(instant: Talk) -> None:
    """bytes that are no speech at all do no harm."""
    instant.append(np.random.default_rng(1).bytes(100_001))
    assert "session.created" in types(instant.log)
