"""Personas come from a file that is checked as a whole, or there is one built in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from realtime_bridge.client_events import SemanticVad, ServerVad
from realtime_bridge.personas import BUILT_IN, Personas, PersonasError
from runtime.errors import SettingsError

REPOSITORY = Path(__file__).parents[3]


def personas(default: str = "a", **by_id: object) -> str:
    return json.dumps({"default": default, "personas": by_id})


AN_OBJECT = '{"type": "object", "properties": {…}}'


def with_tools(*tools: object) -> dict[str, object]:
    return {"instructions": "x", "voice": "y", "tools": tools}


def test_without_a_file_there_is_one() -> None:
    """The built-in persona is the default, and there is no other."""
    loaded = Personas.load(None)
    assert loaded.default is loaded.get("default") is BUILT_IN
    assert loaded.get("teacher") is None


def test_a_persona_needs_instructions_and_a_voice() -> None:
    """The rest has defaults: no greeting, and turns found by silence."""
    persona = Personas.parse(personas(a={"instructions": "Be kind.", "voice": "a voice of our own"})).default
    assert (persona.instructions, persona.voice, persona.greeting) == ("Be kind.", "a voice of our own", None)
    assert persona.turn_detection == ServerVad()


@pytest.mark.parametrize(
    ("turn_detection", "expected"),
    [
        (None, None),
        ({"type": "server_vad"}, ServerVad()),
        ({"type": "server_vad", "silence_duration_ms": 900}, ServerVad(silence_duration_ms=900)),
        ({"type": "semantic_vad", "eagerness": "low"}, SemanticVad(eagerness="low")),
    ],
)
def test_turn_detection_may_be_chosen(turn_detection: object, expected: object) -> None:
    """Null is push-to-talk; left out is not null."""
    text = personas(a={"instructions": "x", "voice": "y", "turn_detection": turn_detection})
    assert Personas.parse(text).default.turn_detection == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '{"default": "a",\n "personas": {\n  "a": {,}}}',
            "it is not JSON: line 3, column 9: expecting property name enclosed in double quotes.",
        ),
        ("", "it is not JSON: line 1, column 1: expecting value."),
        ('{"default": "a", "personas": NaN}', "it is not JSON."),
        ("[]", "Expected `object`, got `array`."),
        ('{"personas": {}}', "Object missing required field `default`."),
        ('{"default": "a", "personas": {}, "voice": "x"}', "Object contains unknown field `voice`."),
        (personas(), '"default" is "a", but the personas are: none.'),
        (
            personas("c", a={"instructions": "x", "voice": "y"}, b={"instructions": "x", "voice": "y"}),
            '"default" is "c", but the personas are: a, b.',
        ),
        (personas(a={"voice": "y"}), 'persona "a": Object missing required field `instructions`.'),
        (
            personas(a={"instructions": "x", "voice": 7}),
            'persona "a": Expected `str`, got `int` - at `$.voice`.',
        ),
        (
            personas(a={"instructions": "", "voice": "y"}),
            'persona "a": Expected `str` of length >= 1 - at `$.instructions`.',
        ),
        (
            personas(a={"instructions": "x", "voice": "y", "greetings": "Hi"}),
            'persona "a": Object contains unknown field `greetings`.',
        ),
        (
            personas(a={"instructions": "x", "voice": "y", "turn_detection": {"type": "server_vad", "silence_ms": 9}}),
            'persona "a": Object contains unknown field `silence_ms` - at `$.turn_detection`.',
        ),
        (
            personas(a=with_tools({"name": "a b", "description": "x"})),
            "persona \"a\": Expected `str` matching regex '^[A-Za-z0-9_-]{1,64}$' - at `$.tools[0].name`.",
        ),
        (
            personas(a=with_tools({"name": "f"})),
            'persona "a": Object missing required field `description` - at `$.tools[0]`.',
        ),
        (
            personas(a=with_tools({"name": "f", "description": "x", "strict": True})),
            'persona "a": Object contains unknown field `strict` - at `$.tools[0]`.',
        ),
        (
            personas(a=with_tools({"name": "f", "description": "x"}, {"name": "f", "description": "y"})),
            'persona "a": tool "f" is there twice; each needs a name of its own.',
        ),
        (
            personas(a=with_tools({"name": "f", "description": "x", "parameters": {"date": {"type": "string"}}})),
            f'persona "a": tool "f": its "parameters" must be a JSON schema of an object, as {AN_OBJECT}.',
        ),
        (
            personas(a=with_tools({"name": "f", "description": "x", "url": "backend/tools"})),
            'persona "a": tool "f": its "url" must look like https://backend.example.com/tools.',
        ),
        (
            personas(a={**with_tools({"name": "f", "description": "x"}), "tool_choice": "g"}),
            'persona "a": "tool_choice" is "g", but it may be: auto, none, required, f.',
        ),
        (
            personas(a={**with_tools(), "tool_choice": "required"}),
            'persona "a": "tool_choice" is "required", but there are no tools.',
        ),
    ],
)
def test_a_wrong_file_is_told_in_a_sentence(text: str, sentence: str) -> None:
    """Which line, or which persona and which field."""
    with pytest.raises(PersonasError) as caught:
        Personas.parse(text)
    assert str(caught.value) == sentence


def test_the_start_fails_with_the_variable_and_the_file(tmp_path: Path) -> None:
    """A file that is not there, is no text, or is wrong: the sentence names both."""
    path = tmp_path / "personas.json"
    with pytest.raises(SettingsError, match=r"^PARLEY_PERSONAS: .*personas.json cannot be read: No such file"):
        Personas.load(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"^PARLEY_PERSONAS: .*personas.json is not UTF-8 text\.$"):
        Personas.load(path)
    path.write_text("{")
    with pytest.raises(SettingsError, match=r"^PARLEY_PERSONAS: .*personas.json: it is not JSON: line 1, column 2: "):
        Personas.load(path)


def test_an_editor_s_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    """Some editors begin every file with one."""
    path = tmp_path / "personas.json"
    path.write_text(personas(a={"instructions": "Sei nett, grüße alle.", "voice": "y"}), "utf-8-sig")
    assert Personas.load(path).default.instructions == "Sei nett, grüße alle."


def test_the_example_loads() -> None:
    """The file that people copy works."""
    loaded = Personas.load(REPOSITORY / "deploy" / "personas.example.json")
    assert loaded.default is loaded.get("assistant")


def test_functions_are_declared_without_their_address() -> None:
    """The model gets name, description and parameters; of none, an empty object."""
    bell = {"name": "ring", "description": "Rings.", "url": "https://bells.example.com/"}
    persona = Personas.parse(personas(a=with_tools(bell))).default
    (tool,) = persona.tools
    assert tool.declared == {
        "type": "function",
        "name": "ring",
        "description": "Rings.",
        "parameters": {"type": "object", "properties": {}},
    }
    assert (persona.tool("ring"), persona.tool("sing")) == (tool, None)


def test_what_somebody_offers_is_known_by_its_names() -> None:
    """Where nobody was chosen, or somebody unknown, it is the default who offers."""
    bell, book = ({"name": name, "description": "x", "url": "https://bells.example.com/"} for name in ("ring", "book"))
    known = Personas.parse(personas(a=with_tools(bell), b=with_tools(book)))
    offered = [known.functions(who) for who in (None, "nobody", "a", "b")]
    assert offered == [{"ring"}, {"ring"}, {"ring"}, {"book"}]


@pytest.mark.parametrize(
    ("choice", "declared"), [("none", "none"), ("required", "required"), ("f", {"type": "function", "name": "f"})]
)
def test_a_choice_may_be_made_for_the_model(choice: str, declared: object) -> None:
    text = personas(a={**with_tools({"name": "f", "description": "x"}), "tool_choice": choice})
    assert Personas.parse(text).default.declared_tool_choice == declared


def test_the_example_with_functions_loads() -> None:
    """And names the first function that needs an address."""
    loaded = Personas.load(REPOSITORY / "deploy" / "personas.tools.example.json")
    assert [tool.name for tool in loaded.default.tools] == ["free_rooms", "book_room", "ring_owner"]
    assert loaded.without_address() == 'tool "free_rooms" of persona "receptionist"'
