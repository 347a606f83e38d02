"""The model's function calls, in every order: who is called, what the model is told, and when it is asked to go on."""

from __future__ import annotations

import base64
from collections.abc import Callable

import msgspec
import pytest

from realtime_bridge.answering import ANSWER_WITHIN_S
from realtime_bridge.answers import STOPPED_WITHIN_S
from realtime_bridge.effects import CallTool
from realtime_bridge.server_events import parse
from realtime_bridge.tools import MAX_ROUNDS, VAD_ANSWERS_WITHIN_S
from streams import down, turns
from streams.messages import SetPersona, Text
from tests.unit.realtime_bridge.calling_talk import SPEAKS, STOPS, Talk, function_call

Step = Callable[[Talk], None]

ORDERS: dict[str, tuple[list[Step], list[str]]] = {
    "one call": (
        [lambda t: t.answers("a")],
        ["function_call_output a", "go on"],
    ),
    "an answer twice": (
        [lambda t: t.answers("a"), lambda t: t.answers("a")],
        ["function_call_output a", "go on"],
    ),
    "an answer to nothing": ([lambda t: t.answers("z")], []),
    "the vad has the model answer, then the output comes": (
        [lambda t: t.created("v"), lambda t: t.answers("a"), lambda t: t.has("a"), lambda t: t.done("v")],
        ["function_call_output a", "go on"],
    ),
    "the vad has the model answer behind the output": (
        [
            lambda t: t.hears(SPEAKS),
            lambda t: t.answers("a"),
            lambda t: t.has("a"),
            lambda t: t.hears(STOPS),
            lambda t: t.created("v"),
            lambda t: t.done("v"),
        ],
        ["function_call_output a"],
    ),
    "the user speaks, and the model does not answer by itself": (
        [lambda t: t.hears(SPEAKS), lambda t: t.answers("a"), lambda t: t.hears(STOPS), lambda t: t.wakes(0.5)],
        ["function_call_output a"],
    ),
    "and not for a second": (
        [
            lambda t: t.hears(SPEAKS),
            lambda t: t.answers("a"),
            lambda t: t.hears(STOPS),
            lambda t: t.wakes(VAD_ANSWERS_WITHIN_S),
        ],
        ["function_call_output a", "go on"],
    ),
    "a collision with an answer that did not have the output": (
        [
            lambda t: t.answers("a"),
            lambda t: t.refuses(),
            lambda t: t.has("a"),
            lambda t: t.done("v"),
        ],
        ["function_call_output a", "go on", "go on"],
    ),
    "a collision with an answer that has it": (
        [
            lambda t: t.answers("a"),
            lambda t: t.has("a"),
            lambda t: t.created("v"),
            lambda t: t.refuses(),
            lambda t: t.done("v"),
        ],
        ["function_call_output a", "go on"],
    ),
    "an answer that the vad began before our wish came": (
        [
            lambda t: t.answers("a"),
            lambda t: t.created("v"),
            lambda t: t.has("a"),
            lambda t: t.refuses(),
            lambda t: t.done("v"),
        ],
        ["function_call_output a", "go on", "go on"],
    ),
    "and that was done before our wish came": (
        [
            lambda t: t.answers("a"),
            lambda t: t.created("v"),
            lambda t: t.done("v"),
            lambda t: t.has("a"),
            lambda t: t.created("f"),
            lambda t: t.done("f"),
        ],
        ["function_call_output a", "go on"],
    ),
    "and a wish that is lost": (
        [
            lambda t: t.answers("a"),
            lambda t: t.created("v"),
            lambda t: t.done("v"),
            lambda t: t.wakes(ANSWER_WITHIN_S),
            lambda t: t.wakes(ANSWER_WITHIN_S),
        ],
        ["function_call_output a", "go on"],
    ),
    "a refusal for another reason": (
        [lambda t: t.answers("a"), lambda t: t.refuses("invalid_value"), lambda t: t.has("a")],
        ["function_call_output a", "go on"],
    ),
    "a model that does not begin": (
        [lambda t: t.answers("a"), lambda t: t.wakes(ANSWER_WITHIN_S), lambda t: t.wakes(ANSWER_WITHIN_S)],
        ["function_call_output a", "go on"],
    ),
    "another voice, another socket": (
        [
            lambda t: t.speaks(),
            lambda t: t.says(SetPersona("mars")),
            lambda t: t.dialled(),
            lambda t: t.answers("a"),
        ],
        [],
    ),
}


@pytest.mark.parametrize("name", ORDERS)
def test_orders(name: str) -> None:
    """After one call was made."""
    steps, expected = ORDERS[name]
    talk = Talk().calls("a:weather")
    assert talk.did == ["call a"]
    for step in steps:
        step(talk)
    assert talk.did == ["call a", *expected]
    assert talk.conversation.next_wake is None or talk.conversation.next_wake > talk.now, "nobody spins"


def test_a_collision_is_nothing_to_tell_anybody() -> None:
    """It sorts itself out, also when the answer that was in the way was taken for ours."""
    talk = Talk().calls("a:weather")
    talk.answers("a")
    talk.created("v")
    talk.refuses()
    assert not [message for message in talk.told if isinstance(message, down.Failed)]


def test_an_output_that_is_refused_is_told_and_forgotten() -> None:
    """Its call is gone, because somebody has deleted it: nothing waits for it, and the next call is spoken about."""
    talk = Talk().calls("a:weather")
    talk.answers("a")
    detail = {
        "type": "invalid_request_error",
        "code": "invalid_tool_call_id",
        "message": "No.",
        "event_id": "parley_output_1",
    }
    talk.hears({"type": "error", "error": detail})
    assert [message.code for message in talk.told if isinstance(message, down.Failed)] == ["invalid_tool_call_id"]
    talk.created("r2")
    talk.done("r2", "b:time")
    talk.answers("b")
    assert talk.did[-2:] == ["function_call_output b", "go on"]


def test_outputs_that_two_answers_had() -> None:
    """One of the model's own had the first, ours the second: then nothing is owed, and the next call is spoken about."""
    talk = Talk().calls("a:weather").calls("b:time", response="r2")
    talk.answers("a")
    talk.refuses()
    talk.answers("b")
    talk.has("a")
    talk.done("v0")
    talk.created("v")
    talk.has("b")
    talk.done("v")
    talk.created("f")
    talk.done("f", "c:time")
    talk.answers("c")
    assert talk.did[-2:] == ["function_call_output c", "go on"]


def test_a_server_that_does_not_tell_of_items() -> None:
    """The answer that was asked for has the outputs."""
    talk = Talk(announces=False).calls("a:weather")
    talk.answers("a")
    talk.created("r2")
    talk.done("r2")
    assert talk.did == ["call a", "function_call_output a", "go on"]
    assert talk.recorded[-1] == turns.Answered("r2", "0-0", calls=("a",))


@pytest.mark.parametrize("first", ["a", "b"])
def test_calls_of_one_response_are_answered_together(first: str) -> None:
    """Each output goes up as it comes; behind the last one the model is asked, once."""
    talk = Talk().calls("a:weather", "b:time")
    talk.answers(first)
    assert talk.did == ["call a", "call b", f"function_call_output {first}"]
    talk.answers({"a": "b", "b": "a"}[first])
    assert talk.did[-1] == "go on"
    assert talk.did.count("go on") == 1


def test_a_slow_function_does_not_hold_up_another_response() -> None:
    """The calls of each response are waited for on their own."""
    talk = Talk().calls("a:weather").calls("b:time", response="r2")
    talk.answers("b")
    assert talk.did[-2:] == ["function_call_output b", "go on"]


@pytest.mark.parametrize(
    ("status", "expected"), [("completed", ["call a"]), ("incomplete", ["call a"]), ("cancelled", []), ("failed", [])]
)
def test_what_was_cancelled_is_not_called(status: str, expected: list[str]) -> None:
    talk = Talk()
    talk.created("r1")
    talk.done("r1", "a:weather", status=status)
    assert talk.did == expected
    assert [type(each) for each in talk.recorded].count(turns.ToolCalled) == len(expected)


def test_a_call_that_broke_off_is_not_made() -> None:
    """The response had no room left for it; what came whole in front of it is called."""
    talk = Talk()
    talk.created("r1")
    broken = {**function_call('b:weather:{"ci'), "status": "incomplete"}
    response = {"id": "r1", "status": "incomplete", "output": [function_call("a:weather"), broken]}
    talk.hears({"type": "response.done", "response": response})
    assert talk.did == ["call a"]


def test_a_call_counts_once_for_its_id() -> None:
    """However many responses tell of it."""
    talk = Talk().calls("a:weather").calls("a:weather", response="r2")
    assert talk.did == ["call a"]


def test_a_server_whose_responses_do_not_list_what_they_hold() -> None:
    talk = Talk()
    talk.created("r1")
    item = function_call("a:weather")
    talk.hears({"type": "response.output_item.done", "response_id": "r1", "output_index": 0, "item": item})
    talk.hears({"type": "response.done", "response": {"id": "r1", "status": "completed"}})
    assert talk.did == ["call a"]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("a:dance", "unknown_function"),
        ("a:weather:{", "invalid_arguments"),
        ("a:weather:[1]", "invalid_arguments"),
    ],
)
def test_what_makes_no_sense_is_answered_at_once(call: str, code: str) -> None:
    talk = Talk().calls(call)
    assert talk.did == ["function_call_output a", "go on"]
    (answered,) = (each for each in talk.recorded if isinstance(each, turns.ToolAnswered))
    assert answered.error == code
    assert msgspec.json.decode(answered.output)["error"]["code"] == code


def test_no_arguments_are_an_object() -> None:
    """Some models say nothing where there is nothing to say."""
    assert Talk().calls("a:weather:").did == ["call a"]


def test_a_persona_that_forces_a_call_does_not_force_the_next() -> None:
    """Else the model would call for ever."""
    talk = Talk(persona="moon").calls("a:weather")
    assert talk.configured["tool_choice"] == {"type": "function", "name": "weather"}
    talk.answers("a")
    assert talk.creates == [{"tool_choice": "auto"}]


def test_a_model_that_calls_and_calls_has_to_speak_at_last() -> None:
    talk = Talk()
    for number in range(MAX_ROUNDS + 1):
        talk.calls(f"c{number}:weather", response=f"r{number}").answers(f"c{number}")
        talk.has(f"c{number}")
    assert talk.creates == [None] * MAX_ROUNDS + [{"tool_choice": "none"}]


def test_functions_of_the_persona_before_may_still_be_called() -> None:
    """The model has heard of both, and each call says whose it is."""
    talk = Talk()
    talk.says(SetPersona("moon"))
    talk.created("r1")
    raw = {"type": "response.done", "response": {"id": "r1", "status": "completed"}}
    raw["response"]["output"] = [function_call("a:time"), function_call("b:weather")]  # type: ignore[index]
    text = msgspec.json.encode({"event_id": "e", **raw}).decode()
    effects = talk.conversation.received(parse(text), text, talk.now)
    assert [each for each in effects if isinstance(each, CallTool)] == [
        CallTool("a", "time", "{}", "sun"),
        CallTool("b", "weather", "{}", "moon"),
    ]


def test_turns_say_which_answer_had_the_outputs() -> None:
    talk = Talk().calls("a:weather")
    talk.answers("a", '"sun"')
    talk.has("a")
    talk.created("r2")
    talk.done("r2")
    assert talk.recorded == [
        turns.ToolCalled("r1", "item_a", "a", "weather", "{}"),
        turns.Answered("r1", "0-0"),
        turns.ToolAnswered("a", '"sun"'),
        turns.Answered("r2", "0-0", calls=("a",)),
    ]


def _interrupted_in_its_words() -> Talk:
    """The model has said something and called; the user writes while that is still heard, so the gateway is asked."""
    talk = Talk()
    talk.created("r1")
    ids = {"response_id": "r1", "item_id": "i1", "output_index": 0, "content_index": 0}
    talk.hears({"type": "response.output_audio.delta", **ids, "delta": base64.b64encode(bytes(48_000)).decode()})
    talk.done("r1", "a:weather")
    return talk


def test_an_output_between_an_interruption_and_its_truth() -> None:
    """What the user has said is asked about, with the output, once; and it is noted as answered, lest a later socket hear it
    again."""
    talk = _interrupted_in_its_words()
    talk.says(Text(text="And tomorrow?"))
    talk.answers("a")
    talk.wakes(STOPPED_WITHIN_S)
    assert talk.did == ["call a", "message", "function_call_output a", "go on"]
    talk.has("a")
    talk.created("r2")
    talk.done("r2")
    assert talk.did[4:] == []
    assert [(each.response, each.pcm_id) for each in talk.recorded if isinstance(each, turns.Answered)] == [
        ("r1", "0-0"),
        ("r2", "9-1"),
    ]


@pytest.mark.parametrize("announces", [True, False])
def test_an_output_while_the_gateway_is_asked_and_nothing_else_is_wanted(announces: bool) -> None:
    """The model is asked to go on when it is known what was heard, and knows that it was for this."""
    talk = _interrupted_in_its_words()
    talk.announces = announces
    talk.says(Text(text="Hm.", respond=False))
    talk.answers("a")
    assert "go on" not in talk.did
    talk.wakes(STOPPED_WITHIN_S)
    if announces:
        talk.has("a")
    talk.created("r2")
    talk.done("r2")
    talk.wakes(ANSWER_WITHIN_S)
    assert talk.did == ["call a", "message", "function_call_output a", "go on"]
