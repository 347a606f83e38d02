"""What a client may not decide, and may not see."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from realtime_bridge.policy import LOCKED, Policy, without_secrets

SESSION: dict[str, Any] = {
    "type": "realtime",
    "model": "theirs",
    "instructions": "Be odd.",
    "prompt": {"id": "p"},
    "tools": [{"type": "mcp", "server_label": "s", "authorization": "secret", "headers": {"x": "secret"}}],
    "tool_choice": "none",
    "audio": {"input": {"turn_detection": None}, "output": {"voice": "cedar", "speed": 1.2}},
}
REST = {"type": "realtime", "audio": {"input": {"turn_detection": None}, "output": {"speed": 1.2}}}


def test_what_is_locked_stays_and_the_rest_is_done() -> None:
    assert Policy(locked=True).session(SESSION) == REST
    assert Policy().session(SESSION) == {name: value for name, value in SESSION.items() if name != "model"}
    assert SESSION["audio"]["output"]["voice"] == "cedar", "what was given is left alone"


def test_a_response_loses_what_is_locked_and_says_what() -> None:
    items = [{"type": "message", "role": role} for role in ("user", "system", "assistant")]
    response, left_out = Policy(locked=True).response({**SESSION, "input": [*items, {"type": "item_reference", "id": "i"}]})
    assert left_out == [*LOCKED, "input"]
    assert [item.get("role") for item in response["input"]] == ["user", "assistant", None]
    assert Policy().response(SESSION) == (SESSION, [])
    assert Policy(locked=True).response({"metadata": {"a": "b"}}) == ({"metadata": {"a": "b"}}, [])


@pytest.mark.parametrize(("role", "allowed"), [("system", False), ("developer", False), ("user", True), ("assistant", True)])
def test_a_system_message_is_an_instruction(role: str, allowed: bool) -> None:
    item = {"type": "message", "role": role, "content": []}
    assert Policy(locked=True).allows(item) is allowed
    assert Policy().allows(item)


def test_what_is_locked_is_not_told_and_no_key_ever() -> None:
    locked = msgspec.json.encode(Policy(locked=True).shown(SESSION)).decode()
    for hidden in ("odd", "mcp", "secret", '"p"'):
        assert hidden not in locked
    assert '"voice":"cedar"' in locked
    assert msgspec.json.decode(locked)["parley"] == {"locked": list(LOCKED)}
    shown = Policy().shown(SESSION)
    assert shown["instructions"] == "Be odd."
    assert shown["tools"] == [{"type": "mcp", "server_label": "s"}]


@pytest.mark.parametrize(
    "said",
    [
        "Incorrect API key provided: sk-proj-abcd****wxyz. You can find it elsewhere.",
        "Incorrect API key provided: sk-pro*********************1234.",
        "Rate limit reached in organization org-AbC123 for project proj_x1y2z3 on tokens.",
        "The key ek_6878a1b2 has expired.",
    ],
)
def test_errors_tell_neither_key_nor_account(said: str) -> None:
    told = without_secrets(said)
    assert "(hidden)" in told
    for secret in ("abcd", "wxyz", "1234", "AbC123", "x1y2z3", "6878"):
        assert secret not in told
    assert (
        without_secrets("A risk-free, ask-me-anything answer: 'desk-1'.") == "A risk-free, ask-me-anything answer: 'desk-1'."
    )
