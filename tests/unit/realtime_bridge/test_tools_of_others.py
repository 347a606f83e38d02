"""Function calls that are the client's, and those that another bridge, or another socket, has left behind."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from realtime_bridge.rebuild import MAX_ITEMS, Rebuilt, rebuild
from realtime_bridge.spoken import Position
from streams import turns
from streams.consumer import Entry
from streams.ids import EntryId
from streams.messages import ClientEvent
from tests.unit.realtime_bridge.calling_talk import Talk

# ── a client that runs functions, too ───────────────────────────────────────────────────────────────────────────────


def client_tool(name: str) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": {"type": "object"}}


def output(call_id: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": "red"}


def test_what_the_client_declares_stands_beside_what_the_persona_offers() -> None:
    """Of two with one name the persona's is meant; a later socket is told the same."""
    talk = Talk("openai")
    effects = talk.conversation.said(
        Entry(
            EntryId(9, 1),
            ClientEvent(
                "session.update",
                msgspec.Raw(msgspec.json.encode({"session": {"tools": [client_tool("paint"), client_tool("time")]}})),
            ),
        ),
        0.0,
    )
    going = msgspec.json.decode(effects[0].frame)["session"]["tools"]  # type: ignore[union-attr]
    assert [tool["name"] for tool in going] == ["weather", "time", "paint"]
    assert "description" in going[1]
    talk.hears({"type": "session.updated", "session": {"type": "realtime", "tools": going}})
    talk.dialled()
    assert [tool["name"] for tool in talk.configured["tools"]] == ["weather", "time", "paint"]
    assert "clock.example" not in str(talk.configured)


def test_a_call_of_the_clients_is_left_to_it() -> None:
    """Both its call and its output are remembered; nothing is asked for in its place."""
    talk = Talk("openai").calls("a:paint")
    talk.asks("conversation.item.create", item=output("a"))
    assert talk.did == []
    assert talk.recorded == [
        turns.ToolCalled("r1", "item_a", "a", "paint", "{}", by_client=True),
        turns.Answered("r1", "0-0"),
        turns.ToolAnswered("a", "red", pcm_id="9-1"),
    ]


def test_the_client_cannot_answer_in_the_functions_place() -> None:
    """An SDK that does not know the function says so by itself: the model is not to hear that."""
    talk = Talk("openai").calls("a:weather")
    recorded = len(talk.recorded)
    assert (
        talk.conversation.said(
            Entry(
                EntryId(9, 1),
                ClientEvent("conversation.item.create", msgspec.Raw(msgspec.json.encode({"item": output("a")}))),
            ),
            0.0,
        )
        == []
    )
    assert len(talk.recorded) == recorded


def test_of_calls_of_both_the_client_asks_the_model_to_go_on() -> None:
    """Its `response.create` is for all of them."""
    talk = Talk("openai").calls("a:weather", "b:paint")
    talk.answers("a")
    talk.has("a")
    talk.asks("conversation.item.create", item=output("b"))
    talk.asks("response.create")
    talk.created("r2")
    talk.done("r2")
    assert talk.did == ["call a", "function_call_output a"]


def test_an_output_too_late_for_what_the_client_has_asked_is_asked_about() -> None:
    talk = Talk("openai").calls("a:weather", "b:paint")
    talk.asks("conversation.item.create", item=output("b"))
    talk.asks("response.create")
    talk.answers("a")
    assert talk.did == ["call a", "function_call_output a"], "the client's answer has yet to begin"
    talk.created("r2")
    talk.done("r2")
    assert talk.did[-1] == "go on"


def test_a_refusal_of_ours_is_not_told_to_the_client_as_its_own() -> None:
    talk = Talk("openai").calls("a:weather")
    talk.answers("a")
    talk.told.clear()
    busy = {"type": "invalid_request_error", "code": "conversation_already_has_active_response", "message": "No."}
    talk.hears({"type": "error", "error": {**busy, "event_id": "create_1"}})
    assert talk.told == []
    talk.done("v")
    assert talk.did[-2:] == ["go on", "go on"]


def test_a_response_out_of_band_is_the_clients() -> None:
    """Its calls are in no conversation: there is nothing to put an output behind."""
    talk = Talk("openai")
    talk.asks("response.create", response={"conversation": "none"})
    talk.created("r1")
    talk.done("r1", "a:weather")
    assert talk.did == []
    assert not [each for each in talk.recorded if isinstance(each, turns.ToolCalled)]


# ── another socket, another bridge ──────────────────────────────────────────────────────────────────────────────────

OPENED = turns.Opened(user="ann", door="ios", turn_mode="server_vad")
CALLED = turns.ToolCalled("r1", "i1", "a", "weather", "{}")
R1 = turns.Answered("r1", "5-1")
ANSWERED = turns.ToolAnswered("a", "1")
R2 = turns.Answered("r2", "5-1", calls=("a",))
CLIENTS = turns.ToolCalled("r1", "i1", "a", "paint", "{}", by_client=True)


def rebuilt_of(*log: turns.TurnsMessage) -> Rebuilt:
    rebuilt = rebuild([Entry(EntryId(7, n), message) for n, message in enumerate((OPENED, *log))])
    assert rebuilt is not None
    return rebuilt


PAIR = ["function_call a", "function_call_output a"]

REBUILDS: dict[str, tuple[list[turns.TurnsMessage], list[str]]] = {
    "not answered": ([CALLED, R1], ["function_call a", "call a"]),
    "answered, and the model has not gone on": ([CALLED, R1, ANSWERED], [*PAIR, "go on"]),
    "answered twice": ([CALLED, R1, ANSWERED, turns.ToolAnswered("a", "2")], [*PAIR, "go on"]),
    "another answer in between": ([CALLED, R1, ANSWERED, turns.Answered("v", "5-2")], [*PAIR, "go on"]),
    "settled": ([CALLED, R1, ANSWERED, R2], PAIR),
    "in a response that is not done": ([CALLED], []),
    "told in a response that is not done": (
        [CALLED, R1, ANSWERED, turns.ToolCalled("r2", "i2", "b", "time", "{}")],
        [*PAIR, "go on"],
    ),
    "of somebody with another voice": ([CALLED, R1, turns.PersonaChosen("mars", fresh=True)], []),
    "no such function any more": (
        [turns.ToolCalled("r1", "i1", "a", "dance", "{}"), R1],
        ["function_call a", "call a"],  # whoever calls finds out, and says so
    ),
    "the client's, without an output": ([CLIENTS, R1], ["function_call a"]),
    "the client's": ([CLIENTS, R1, turns.ToolAnswered("a", "1", pcm_id="5-1")], PAIR),
    "the client's, whose output is said again": (
        [CLIENTS, R1, turns.ToolAnswered("a", "1", pcm_id="5-2")],
        ["function_call a"],
    ),
    "told by the client": (
        [turns.ToolCalled("", "i1", "a", "paint", "{}", by_client=True, pcm_id="5-1"), R1],
        ["function_call a"],
    ),
    "told by the client, and said again": (
        [turns.ToolCalled("", "i1", "a", "paint", "{}", by_client=True, pcm_id="5-2"), R1],
        [],
    ),
}


@pytest.mark.parametrize("name", REBUILDS)
def test_rebuilds(name: str) -> None:
    """What the next socket is told of a call, and what is done about it."""
    log, expected = REBUILDS[name]
    assert Talk(rebuilt=rebuilt_of(*log)).did == expected


def test_who_it_was_is_called_again() -> None:
    """The persona of the call, not the one of now; and of nobody chosen, the default."""
    log: list[turns.TurnsMessage] = [CALLED, R1, turns.PersonaChosen("moon")]
    (owed,) = rebuilt_of(*log).owed
    assert owed.persona is None
    assert owed.about == Position(EntryId(5, 1), 0)
    later = turns.ToolCalled("r3", "i3", "b", "weather", "{}")
    _, owed = rebuilt_of(*log, later, turns.Answered("r3", "5-2")).owed
    assert owed.persona == "moon"


def test_a_pair_is_never_cut_in_two() -> None:
    """However long the conversation is: an output without its call would be refused."""
    log: list[turns.TurnsMessage] = [CALLED, R1]
    log += [turns.AssistantSaid("r1", f"x{n}", "Hm.") for n in range(MAX_ITEMS - 1)]
    kinds = [item["type"] for item in rebuilt_of(*log, ANSWERED).items]
    assert kinds.count("function_call") == kinds.count("function_call_output") == 1
    kinds = [item["type"] for item in rebuilt_of(*log, ANSWERED, turns.AssistantSaid("r1", "y", "Hm.")).items]
    assert set(kinds) == {"message"}


def test_what_goes_on_when_the_socket_breaks_is_not_forgotten() -> None:
    """Asked to go on, and broken before it was done: asked once more, without another output."""
    talk = Talk().calls("a:weather")
    talk.answers("a")
    talk.created("r2")
    talk.conversation.restore(rebuilt_of(*talk.recorded))
    talk.did.clear()
    talk.dialled()
    assert talk.did == [*PAIR, "go on"]
