"""The app's own backend in a conversation: words of the user's, words about the user, and how to behave."""

from __future__ import annotations

from typing import Any

import msgspec

from realtime_bridge.conversation import Conversation
from realtime_bridge.effects import Record
from realtime_bridge.personas import Personas
from realtime_bridge.rebuild import Rebuilt, rebuild
from realtime_bridge.server_events import parse
from streams import turns
from streams.consumer import Entry
from streams.ids import EntryId
from streams.messages import Instructions, SetPersona, Text
from tests.unit.realtime_bridge.talking import Talk as FieldTalk
from tests.unit.realtime_bridge.test_passthrough import Talk as ClientTalk
from tests.unit.realtime_bridge.test_passthrough import error, sent, told


def rebuilt_of(*log: turns.TurnsMessage) -> Rebuilt:
    opened = turns.Opened(user="ann", door="mobile")
    rebuilt = rebuild([Entry(EntryId(7, n), message) for n, message in enumerate((opened, *log), 1)])
    assert rebuilt is not None
    return rebuilt


def created(response: str = "r1") -> dict[str, Any]:
    return {"type": "response.created", "event_id": "e", "response": {"id": response, "object": "realtime.response"}}


def done(response: str = "r1") -> dict[str, Any]:
    body = {"id": response, "object": "realtime.response", "status": "completed", "output": []}
    return {"type": "response.done", "event_id": "e", "response": body}


def test_the_users_words_interrupt_and_are_answered() -> None:
    talk = FieldTalk().ready()
    talk.records(1000)
    talk.answer_begins(ms=1000)
    events = sent(talk.says(Text("Stop, please.")))
    kinds = [event["type"] for event in events]
    assert kinds[0] == "response.cancel"
    assert kinds[-1] == "conversation.item.create"
    assert events[-1]["item"]["content"] == [{"type": "input_text", "text": "Stop, please."}]
    later = [*talk.answer_ends(status="cancelled"), *talk.wakes(after_s=0.3)]  # nobody says how much was heard
    assert [event["type"] for event in sent(later)][-1] == "response.create"


def test_what_the_backend_knows_interrupts_nobody() -> None:
    """A note about the user: the model knows it from now on, and goes on speaking; asked to, it speaks of it next."""
    talk = FieldTalk().ready()
    talk.records(1000)
    talk.answer_begins(ms=1000)
    (event,) = sent(talk.says(Text("The user has paid.", role="system", respond=False)))
    assert (event["type"], event["item"]["role"]) == ("conversation.item.create", "system")
    (event,) = sent(talk.says(Text("The shop is closed.", role="system")))
    assert event["type"] == "conversation.item.create"
    assert [event["type"] for event in sent(talk.answer_ends())] == ["response.create"]


def test_instructions_replace_the_personas_until_another_comes() -> None:
    talk = FieldTalk().ready()
    (event,) = sent(talk.says(Instructions("Speak of the sale only.")))
    assert event["session"]["instructions"] == "Speak of the sale only."
    (event,) = sent(talk.says(SetPersona("mars")))
    assert event["session"]["instructions"] != "Speak of the sale only."


def test_a_later_socket_knows_what_the_backend_has_said() -> None:
    log = (
        turns.InstructionsGiven("Speak of the sale only."),
        turns.Committed("system_9_1", "9-1", 0),
        turns.SystemSaid("system_9_1", "The user has paid."),
        turns.Committed("user_9_2", "9-2", 0),
        turns.UserSaid("user_9_2", "Thanks."),
        turns.Answered("r1", "9-2"),
    )
    rebuilt = rebuilt_of(*log)
    assert rebuilt.instructions == "Speak of the sale only."
    assert [(item["role"], item["content"][0]["text"]) for item in rebuilt.items] == [
        ("system", "The user has paid."),
        ("user", "Thanks."),
    ]
    conversation = Conversation(rebuilt.opened, Personas.load(None), None)
    conversation.restore(rebuilt)
    (configured,) = sent(conversation.dialled())
    assert configured["session"]["instructions"] == "Speak of the sale only."
    assert rebuilt_of(*log, turns.PersonaChosen("mars")).instructions is None


def test_words_that_were_said_again_to_another_socket_are_told_once() -> None:
    """A bridge that takes over before they were answered reads them again, and says so again."""
    log = (turns.Committed("user_9_1", "9-1", 0), turns.UserSaid("user_9_1", "Hello?"))
    assert len(rebuilt_of(*log, *log, turns.Answered("r1", "9-1")).items) == 1


# ---- beside a client that speaks the model's protocol ----------------------------------------------------------------


def test_a_client_hears_of_the_item_and_its_own_answer_is_left_alone() -> None:
    talk = ClientTalk()
    talk.asks("response.create")
    talk.hears(created())
    (event,) = sent(talk.says(Text("The user has paid.")))
    assert event["type"] == "conversation.item.create"
    added = {"type": "conversation.item.added", "event_id": "e", "item": event["item"]}
    assert told(talk.hears(added)) == [added]
    (event,) = sent(talk.hears(done()))
    assert event["type"] == "response.create"


def test_an_answer_waits_for_the_one_that_the_client_has_just_asked_for() -> None:
    talk = ClientTalk()
    talk.asks("response.create")
    assert [event["type"] for event in sent(talk.says(Text("Hello.")))] == ["conversation.item.create"]
    assert sent(talk.hears(created())) == []
    assert [event["type"] for event in sent(talk.hears(done()))] == ["response.create"]
    talk.hears(created("r2"))
    talk.hears(done("r2"))
    assert talk.recorded[-1] == turns.Answered(response="r2", pcm_id="9-2")


def test_a_client_is_not_told_of_errors_that_are_not_its_own() -> None:
    """The backend's answer comes in the way of one that began meanwhile: it is asked for again after that."""
    talk = ClientTalk()
    _, create = sent(talk.says(Text("Hello.")))
    assert told(talk.hears(error(create["event_id"], "conversation_already_has_active_response"))) == []
    (again,) = sent(talk.hears(done()))
    assert again["type"] == "response.create"


def test_instructions_are_merged_with_what_the_client_has_asked_for() -> None:
    """The client is told as of a change of its own, and a later socket gets both."""
    talk = ClientTalk()
    talk.asks("session.update", session={"type": "realtime", "tool_choice": "none", "instructions": "Be odd."})
    updated = {"type": "session.updated", "event_id": "e", "session": {"type": "realtime", "tools": []}}
    talk.hears(updated)
    effects = talk.says(Instructions("Be even."))
    assert [effect.message for effect in effects if isinstance(effect, Record)] == [turns.InstructionsGiven("Be even.")]
    (event,) = sent(effects)
    assert event["session"] == {"type": "realtime", "instructions": "Be even."}
    assert told(talk.hears(updated)) == [updated]
    assert isinstance(changed := talk.recorded[-1], turns.SessionChanged)
    assert msgspec.json.decode(changed.session) == {"type": "realtime", "tool_choice": "none", "instructions": "Be even."}
    assert parse(msgspec.json.encode(updated).decode())
