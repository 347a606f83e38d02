"""What a bridge reads from the environment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from realtime_bridge.settings import BridgeSettings
from runtime.errors import SettingsError


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in BridgeSettings.model_fields.values():
        monkeypatch.delenv(str(field.alias), raising=False)


def test_a_key_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else has a default."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    settings = BridgeSettings.load()
    assert settings.openai_api_key
    assert settings.openai_api_key.get_secret_value() == "sk-secret"
    assert settings.openai_base_url == "https://api.openai.com/v1"
    assert settings.openai_realtime_model == "gpt-realtime-2.1"
    assert settings.transcription_model == "gpt-transcribe"
    assert (settings.personas, settings.max_sessions) == (None, 100)


def test_the_key_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings may be printed."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert "sk-secret" not in repr(BridgeSettings.load())


def test_openai_wants_a_key() -> None:
    """Without one, the sentence tells of the simulator."""
    with pytest.raises(SettingsError, match=r"^the environment is not usable: it has no OPENAI_API_KEY; .*simulator"):
        BridgeSettings.load()


def test_a_server_of_one_s_own_may_want_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator lets in everybody."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8765/v1")
    assert BridgeSettings.load().openai_api_key is None


def test_the_simulator_answers_while_nobody_else_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable names nobody."""
    monkeypatch.setenv("PARLEY_SIMULATOR_URL", "http://simulator:8765/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "")
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    settings = BridgeSettings.load()
    assert (settings.openai_base_url, settings.is_simulated) == ("http://simulator:8765/v1", True)


@pytest.mark.parametrize(
    ("variable", "value", "url"),
    [
        ("OPENAI_API_KEY", "sk-secret", "https://api.openai.com/v1"),
        ("OPENAI_BASE_URL", "http://10.0.0.5:8080/v1", "http://10.0.0.5:8080/v1"),
    ],
)
def test_whoever_is_named_answers(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, url: str) -> None:
    """A key never goes to the simulator."""
    monkeypatch.setenv("PARLEY_SIMULATOR_URL", "http://simulator:8765/v1")
    monkeypatch.setenv(variable, value)
    settings = BridgeSettings.load()
    assert (settings.openai_base_url, settings.is_simulated) == (url, False)


@pytest.mark.parametrize("url", ["ftp://example.com", "api.openai.com/v1", "https://", "localhost:8765"])
def test_the_address_must_be_one(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """One wrong value, one sentence."""
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(SettingsError, match=r"^OPENAI_BASE_URL is not usable: it must look like https://.*$"):
        BridgeSettings.load()


@pytest.mark.parametrize(("value", "model"), [("none", None), ("None", None), ("whisper-1", "whisper-1"), (" ", None)])
def test_captions_of_the_user_can_be_off(monkeypatch: pytest.MonkeyPatch, value: str, model: str | None) -> None:
    """The word none stands for no model."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("PARLEY_TRANSCRIPTION_MODEL", value)
    assert BridgeSettings.load().transcription_model == model


def test_personas_are_a_path_and_sessions_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values arrive as what they are; a bridge for no session at all is refused."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("PARLEY_PERSONAS", "deploy/personas.json")
    assert BridgeSettings.load().personas == Path("deploy/personas.json")
    monkeypatch.setenv("PARLEY_MAX_SESSIONS", "0")
    with pytest.raises(SettingsError, match="PARLEY_MAX_SESSIONS"):
        BridgeSettings.load()


def test_each_setting_is_described() -> None:
    """The README's table is made of these lines."""
    assert all(field.description and field.alias for field in BridgeSettings.model_fields.values())


SECRET = "whsec_" + "a2tra2tra2tra2tra2tra2tra2tra2tr"
FUNCTIONS = {"name": "f", "description": "x"}


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("PARLEY_TOOLS_URL", "backend/tools", "it must look like https://backend.example.com/tools"),
        ("PARLEY_TOOLS_SECRET", "hush", "a secret must be `whsec_` and the base64 of 24 to 64 bytes"),
        ("PARLEY_TOOLS_TIMEOUT_S", "0", "input should be greater than 0"),
    ],
)
def test_where_calls_go_is_checked(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"^{variable} is not usable: {sentence}"):
        BridgeSettings.load()


@pytest.mark.parametrize(
    ("tool", "settings", "sentence"),
    [
        (
            FUNCTIONS,
            {"PARLEY_TOOLS_SECRET": SECRET},
            'PARLEY_TOOLS_URL is not set, and tool "f" of persona "a" has no',
        ),
        (FUNCTIONS, {"PARLEY_TOOLS_URL": "https://b.example/"}, "PARLEY_TOOLS_SECRET is not set, but there are personas"),
        (FUNCTIONS, {"PARLEY_TOOLS_URL": "https://b.example/", "PARLEY_TOOLS_SECRET": SECRET}, None),
        ({**FUNCTIONS, "url": "https://b.example/"}, {"PARLEY_TOOLS_SECRET": SECRET}, None),
    ],
)
def test_functions_need_an_address_and_a_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tool: object, settings: dict[str, str], sentence: str | None
) -> None:
    """Else the bridge does not start: a call that goes nowhere would be found in a conversation."""
    path = tmp_path / "personas.json"
    persona = {"instructions": "x", "voice": "y", "tools": [tool]}
    path.write_text(json.dumps({"default": "a", "personas": {"a": persona}}))
    for variable, value in ({"OPENAI_API_KEY": "k", "PARLEY_PERSONAS": str(path)} | settings).items():
        monkeypatch.setenv(variable, value)
    loaded = BridgeSettings.load()
    assert SECRET not in repr(loaded)
    if sentence is None:
        assert loaded.load_personas().default_id == "a"
    else:
        with pytest.raises(SettingsError, match=f"^{sentence}"):
            loaded.load_personas()
