"""A client that speaks the model's own protocol: it drives, and what it has changed is not forgotten."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from realtime_bridge.client_events import ServerVad, session_config
from realtime_bridge.conversation import Conversation
from realtime_bridge.effects import Effect, Finish, Forward, Record, Say, Send, SendAudio
from realtime_bridge.passthrough import merged
from realtime_bridge.personas import Personas
from realtime_bridge.rebuild import rebuild
from realtime_bridge.server_events import parse
from simulator.session_config import SessionConfig
from streams import down, pcm, turns
from streams.consumer import Entry
from streams.ids import BIRTH, EntryId
from streams.messages import VOID, Clear, ClientEvent, Commit, Instructions

OPENED = turns.Opened(user="ann", door="openai", turn_mode="server_vad")
UPDATED: dict[str, Any] = {"type": "session.updated", "event_id": "e", "session": {"type": "realtime", "tools": []}}


class Talk:
    """A conversation with such a client, and both its sides."""

    def __init__(self, conversation: Conversation | None = None) -> None:
        self.conversation = conversation or Conversation(OPENED, Personas.load(None), None)
        self.recorded: list[turns.TurnsMessage] = []
        self._seq = 0
        (configured,) = self.conversation.dialled()
        assert isinstance(configured, Send)
        self.configured: Any = msgspec.json.decode(msgspec.json.encode(configured.event))["session"]
        self.retold = self.hears(UPDATED)
        assert not [effect for effect in self.retold if isinstance(effect, Say)], "it was not the client who asked"

    def says(self, message: pcm.PcmMessage) -> list[Effect]:
        self._seq += 1
        return self._done(self.conversation.said(Entry(EntryId(9, self._seq), message), 0.0))

    def asks(self, kind: str, **fields: object) -> list[Effect]:
        return self.says(ClientEvent(kind, msgspec.Raw(msgspec.json.encode({"type": kind, **fields}))))

    def hears(self, event: dict[str, Any]) -> list[Effect]:
        raw = msgspec.json.encode(event).decode()
        return self._done(self.conversation.received(parse(raw), raw, 0.0))

    def _done(self, effects: list[Effect]) -> list[Effect]:
        self.recorded += [effect.message for effect in effects if isinstance(effect, Record)]
        return effects


def sent(effects: list[Effect]) -> list[Any]:
    """What goes to the model, as JSON."""
    going = [effect for effect in effects if isinstance(effect, Forward | Send)]
    frames = [each.frame if isinstance(each, Forward) else msgspec.json.encode(each.event) for each in going]
    return [msgspec.json.decode(frame) for frame in frames]


def told(effects: list[Effect]) -> list[Any]:
    """What the client is told of the model's, as JSON."""
    messages = [effect.message for effect in effects if isinstance(effect, Say)]
    return [msgspec.json.decode(m.body) if isinstance(m, down.ServerEvent) else m for m in messages]


def error(event_id: str | None, code: str = "invalid_value") -> dict[str, Any]:
    detail = {"type": "invalid_request_error", "code": code, "message": "No.", "param": None, "event_id": event_id}
    return {"type": "error", "event_id": "e", "error": detail}


def test_events_go_up_as_they_are_under_their_own_name_or_ours() -> None:
    talk = Talk()
    (event,) = sent(talk.asks("response.create", event_id="mine", response={"metadata": {"a": "b"}}))
    assert event == {"type": "response.create", "event_id": "mine", "response": {"metadata": {"a": "b"}}}
    (event,) = sent(talk.asks("response.cancel"))
    assert event == {"type": "response.cancel", "event_id": "parley_9_2"}


def test_a_refusal_is_the_clients_and_our_names_are_not() -> None:
    """No failure is told on top of it, and nothing ends."""
    talk = Talk()
    talk.asks("response.create", event_id="mine")
    assert told(talk.hears(error("mine"))) == [error("mine")]
    talk.asks("response.create")
    assert told(talk.hears(error("parley_9_2"))) == [error(None)]
    assert told(talk.hears(error(None, "response_cancel_not_active"))) == [error(None, "response_cancel_not_active")]


def test_what_no_client_can_mend_ends_the_session() -> None:
    effects = Talk().hears(error(None, "insufficient_quota"))
    assert effects[-1] == Finish("insufficient_quota")


def test_the_client_drives() -> None:
    """Its commit asks for nothing else, its clear clears, speech interrupts nothing of ours."""
    talk = Talk()
    (append,) = talk.says(pcm.Audio(bytes(960)))
    assert append == SendAudio(bytes(960))
    assert sent(talk.says(Commit(respond=False, event_id="mine"))) == [
        {"type": "input_audio_buffer.commit", "event_id": "mine"}
    ]
    assert sent(talk.says(Clear())) == [{"type": "input_audio_buffer.clear", "event_id": "parley_9_3"}]
    effects = talk.hears({"type": "input_audio_buffer.speech_started", "event_id": "e", "item_id": "i"})
    assert sent(effects) == []
    assert talk.conversation.next_wake is None


def test_a_refused_number_says_nothing() -> None:
    assert Talk().says(ClientEvent(VOID, msgspec.Raw(b"{}"))) == []


def test_a_change_is_told_when_it_is_made_and_kept() -> None:
    talk = Talk()
    change = {"type": "realtime", "instructions": "Be odd.", "model": "mine"}
    (event,) = sent(talk.asks("session.update", session=change))
    assert event["session"] == {"type": "realtime", "instructions": "Be odd."}, "the model is the deployment's"
    assert told(talk.hears(UPDATED)) == [UPDATED]
    assert talk.recorded[-1] == turns.SessionChanged(msgspec.Raw(b'{"type":"realtime","instructions":"Be odd."}'), "9-1")
    talk.conversation.dialled()
    again = Talk(talk.conversation)
    assert again.configured["instructions"] == "Be odd."
    assert again.configured["audio"]["output"]["voice"] == "marin"


def test_a_refused_change_is_forgotten() -> None:
    talk = Talk()
    talk.asks("session.update", event_id="mine", session={"type": "realtime", "instructions": "Be odd."})
    talk.hears(error("mine"))
    talk.asks("session.update", session={"type": "realtime", "tool_choice": "none"})
    talk.hears(UPDATED)
    assert isinstance(changed := talk.recorded[-1], turns.SessionChanged)
    assert msgspec.json.decode(changed.session) == {"type": "realtime", "tool_choice": "none"}


def test_another_bridge_goes_on_with_it() -> None:
    """The session as changed, what was said in words, and nothing of it comes to the client's ears again."""
    talk = Talk()
    talk.asks("session.update", session={"type": "realtime", "instructions": "Be odd."})
    talk.hears(UPDATED)
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "I am Ann."}]}
    (event,) = sent(talk.asks("conversation.item.create", item=item))
    talk.asks("response.create")
    talk.hears({"type": "response.created", "event_id": "e", "response": {"id": "r", "status": "in_progress"}})
    talk.hears({"type": "response.done", "event_id": "e", "response": {"id": "r", "status": "completed", "output": []}})
    assert talk.recorded[-1] == turns.Answered(response="r", pcm_id="9-3", offset=0)
    log: list[turns.TurnsMessage] = [OPENED, *talk.recorded]
    rebuilt = rebuild([Entry(EntryId(BIRTH.left, n), message) for n, message in enumerate(log, 1)])
    assert rebuilt is not None
    conversation = Conversation(OPENED, Personas.load(None), None)
    conversation.restore(rebuilt)
    again = Talk(conversation)
    assert again.configured["instructions"] == "Be odd."
    (create,) = sent(again.retold)
    assert create["item"]["content"] == item["content"]
    added = {"type": "conversation.item.added", "event_id": "e", "item": create["item"]}
    assert told(again.hears(added)) == []
    assert create["item"]["id"] == event["item"]["id"]  # the client may name it as before
    assert told(again.hears({**added, "item": {**item, "id": "item_new"}})) != []


def test_a_refused_item_is_no_part_of_the_conversation() -> None:
    talk = Talk()
    item = {"id": "mine", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello."}]}
    talk.asks("conversation.item.create", event_id="create", item=item)
    talk.hears(error("create"))
    assert talk.recorded[-1] == turns.Removed("mine")


def test_what_the_client_truncates_is_void() -> None:
    talk = Talk()
    event = {"type": "conversation.item.truncated", "event_id": "e", "item_id": "i", "content_index": 0, "audio_end_ms": 70}
    assert told(talk.hears(event)) == [event, down.Interrupted("i", 0, 70)]


@pytest.mark.parametrize(
    "change",
    [
        {"type": "realtime", "instructions": "", "tools": [], "output_modalities": ["text"]},
        {"type": "realtime", "audio": {"input": {"turn_detection": None}}},
        {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.9}}}},
        {"type": "realtime", "audio": {"input": {"transcription": {"model": "a", "language": "de"}}}},
        {"type": "realtime", "audio": {"input": {"transcription": {"language": "fr"}, "noise_reduction": None}}},
        {"type": "realtime", "audio": {"output": {"voice": "cedar", "speed": 1.2}}},
        {"type": "realtime", "tool_choice": {"type": "function", "name": "weather"}},
    ],
)
def test_changes_are_merged_as_the_model_merges_them(change: dict[str, Any]) -> None:
    """Told again all at once, they make the session that they made one by one."""
    first: dict[str, Any] = {
        "type": "realtime",
        "audio": {"input": {"transcription": {"model": "m"}}, "output": {"voice": "marin"}},
    }
    ours: Any = session_config(instructions="x", voice="alloy", turn_detection=ServerVad(), transcription_model=None)
    fresh = SessionConfig.fresh("s", "gpt-realtime-2.1", 0)
    one_by_one = fresh.updated(ours, has_spoken=False)
    for each in (first, change):
        one_by_one = one_by_one.updated(each, has_spoken=False)
    at_once = fresh.updated(merged(ours, merged(merged({}, first), change)), has_spoken=False)
    assert at_once.wire == one_by_one.wire


def test_what_was_only_for_the_socket_before_is_not_said_again() -> None:
    """After a break its entries are read again: a cancel or a truncation would be about nothing that the new one knows."""
    before = Talk()
    before.asks("response.cancel")
    before.asks("conversation.item.truncate", item_id="a", content_index=0, audio_end_ms=10)
    conversation = Conversation(OPENED, Personas.load(None), None)
    conversation.follow(before.conversation)
    after = Talk(conversation)
    assert after.asks("response.cancel") == []
    assert after.asks("conversation.item.truncate", item_id="a", content_index=0, audio_end_ms=10) == []
    (event,) = sent(after.asks("response.cancel"))
    assert event["type"] == "response.cancel"


def test_a_mistake_is_told_once() -> None:
    """Also when the entry that tells of it is read again for another socket."""
    before = Talk()
    error = pcm.MediaError("damaged", "It does not read.")
    assert told(before.says(error)) != []
    conversation = Conversation(OPENED, Personas.load(None), None)
    conversation.follow(before.conversation)
    assert told(Talk(conversation).says(error)) == []


LOCKED = Personas.parse('{"default": "a", "personas": {"a": {"instructions": "Ours.", "voice": "marin", "locked": true}}}')


def test_a_locked_persona_stays_who_it_is() -> None:
    """The client is told so, and not who that is; all else that it asks for is done."""
    talk = Talk(Conversation(OPENED, LOCKED, None))
    effects = talk.asks(
        "session.update", session={"type": "realtime", "instructions": "Mine.", "output_modalities": ["text"]}
    )
    assert sent(effects)[0]["session"] == {"type": "realtime", "output_modalities": ["text"]}
    (updated,) = told(talk.hears({**UPDATED, "session": {"type": "realtime", "instructions": "Ours.", "tools": [{}]}}))
    assert updated["session"].keys() == {"type", "parley"}

    effects = talk.asks("response.create", event_id="e", response={"instructions": "Mine.", "metadata": {"a": "b"}})
    assert sent(effects)[0]["response"] == {"metadata": {"a": "b"}}
    (error,) = told(effects)
    assert (error["error"]["code"], error["error"]["param"], error["error"]["event_id"]) == (
        "locked_parameter",
        "response.instructions",
        "e",
    )
    effects = talk.asks("conversation.item.create", item={"type": "message", "role": "system", "content": []})
    assert not sent(effects)
    (error,) = told(effects)
    assert (error["error"]["param"], error["error"]["event_id"]) == ("item.role", None)
    assert told(talk.asks("response.create")) == []


def test_a_persona_may_be_open_where_the_others_are_locked() -> None:
    open_one = Personas.parse('{"default": "a", "personas": {"a": {"instructions": "I.", "voice": "v", "locked": false}}}')
    for personas, kept in ((open_one, {"instructions": "Mine."}), (Personas.load(None), {})):
        talk = Talk(Conversation(OPENED, personas.locked_unless_said(True), None))
        assert sent(talk.asks("session.update", session={"instructions": "Mine."}))[0]["session"] == kept


def test_what_a_client_secret_begins_with_does_not_open_a_lock() -> None:
    session = {"type": "realtime", "instructions": "Mine.", "output_modalities": ["text"]}
    opened = turns.Opened(user="ann", door="openai", session=msgspec.Raw(msgspec.json.encode(session)))
    for locked, instructions in ((True, "Ours."), (False, "Mine.")):
        personas = LOCKED if locked else Personas.load(None)
        conversation = Conversation(opened, personas, None)
        rebuilt = rebuild([Entry(BIRTH, opened)])
        assert rebuilt is not None
        conversation.restore(rebuilt)
        configured = Talk(conversation).configured
        assert (configured["instructions"], configured["output_modalities"]) == (instructions, ["text"])


def test_the_apps_backend_may_instruct_whom_its_client_may_not() -> None:
    """Also on the next socket; and the client is not told what."""
    talk = Talk(Conversation(OPENED, LOCKED, None))
    assert sent(talk.says(Instructions("Be brief.")))[0]["session"]["instructions"] == "Be brief."
    (updated,) = told(talk.hears({**UPDATED, "session": {"type": "realtime", "instructions": "Be brief."}}))
    assert "instructions" not in updated["session"]
    assert Talk(talk.conversation).configured["instructions"] == "Be brief."
