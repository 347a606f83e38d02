from __future__ import annotations

import copy

import pytest

from simulator.audio_format import PCMU
from simulator.errors import Refused
from simulator.session_config import SERVER_VAD, SessionConfig
from simulator.wire import Json, Object, member


def fresh(model: str = "gpt-realtime-2.1") -> SessionConfig:
    return SessionConfig.fresh("sess_1", model, 3600)


def update(config: SessionConfig, /, has_spoken: bool = False, **session: Json) -> SessionConfig:
    return config.updated({"type": "realtime", **session}, has_spoken=has_spoken)


def audio_input(config: SessionConfig) -> Object:
    return member(member(config.wire, "audio"), "input")


def test_merge() -> None:
    """what an update leaves out stays as it is."""
    config = update(fresh(), instructions="Be brief.", audio={"output": {"voice": "marin"}})
    config = update(config, audio={"input": {"transcription": {"model": "whisper-1", "language": "de"}}})
    config = update(config, audio={"input": {"transcription": {"model": "gpt-transcribe"}}})
    assert config.wire["instructions"] == "Be brief."
    assert member(member(config.wire, "audio"), "output")["voice"] == "marin"
    assert audio_input(config)["transcription"] == {"model": "gpt-transcribe", "language": "de"}
    assert audio_input(config)["turn_detection"] == SERVER_VAD


def test_null_and_empty_clear() -> None:
    """null clears what can be absent, an empty list the tools, an empty string the instructions."""
    config = update(fresh(), tools=[{"type": "function", "name": "f", "parameters": {}}])
    config = update(config, audio={"input": {"turn_detection": None, "noise_reduction": None, "transcription": None}})
    config = update(config, tools=[], instructions="")
    assert (audio_input(config)["turn_detection"], config.wire["tools"], config.wire["instructions"]) == (None, [], "")
    assert config.view.audio.input.turn_detection is None


def test_turn_detection_of_the_same_type_merges() -> None:
    """one number may be changed alone; another type begins with its own defaults."""
    config = update(fresh(), audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 0.7}}})
    config = update(config, audio={"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}}})
    assert audio_input(config)["turn_detection"] == {**SERVER_VAD, "threshold": 0.7, "silence_duration_ms": 200}
    config = update(config, audio={"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}}})
    detection = config.view.audio.input.turn_detection
    assert detection is not None
    assert (detection.type, detection.silence_ms) == ("semantic_vad", 2000)


def test_formats() -> None:
    """a format is replaced whole, and PCM is 24 kHz though the rate is left out."""
    config = update(fresh(), audio={"input": {"format": {"type": "audio/pcmu"}}})
    assert config.input_format is PCMU
    config = update(config, audio={"input": {"format": {"type": "audio/pcm"}}})
    assert audio_input(config)["format"] == {"type": "audio/pcm", "rate": 24_000}


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({"bogus": 1}, "unknown_parameter", "session.bogus"),
        ({"voice": "marin"}, "unknown_parameter", "session.voice"),
        ({"temperature": 0.8}, "unknown_parameter", "session.temperature"),
        ({"modalities": ["audio"]}, "unknown_parameter", "session.modalities"),
        ({"type": "transcription"}, "invalid_value", "session.type"),
        ({"type": None}, "invalid_type", "session.type"),
        ({"output_modalities": ["audio", "text"]}, "invalid_value", "session.output_modalities"),
        ({"model": "gpt-other"}, "invalid_value", "session.model"),
        ({"max_output_tokens": 5000}, "integer_above_max_value", "session.max_output_tokens"),
        ({"audio": {"input": {"gain": 1}}}, "unknown_parameter", "session.audio.input.gain"),
        ({"audio": {"output": {"speed": 2.0}}}, "decimal_above_max_value", "session.audio.output.speed"),
        ({"audio": {"output": {"voice": "bob"}}}, "invalid_value", "session.audio.output.voice"),
        (
            {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}},
            "integer_below_min_value",
            "session.audio.input.format.rate",
        ),
        (
            {"audio": {"input": {"turn_detection": {"type": "semantic_vad", "threshold": 0.5}}}},
            "unknown_parameter",
            "session.audio.input.turn_detection.threshold",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
            "unknown_parameter",
            "session.tools[0].function",
        ),
    ],
)
def test_refusals(session: Object, code: str, param: str) -> None:
    """an update with one mistake is refused whole."""
    config = fresh()
    before = copy.deepcopy(config.wire)
    with pytest.raises(Refused) as refused:
        config.updated({"type": "realtime", "instructions": "changed", **session}, has_spoken=False)
    assert (refused.value.code, refused.value.param) == (code, param)
    assert config.wire == before


def test_type_is_required() -> None:
    """an update says which kind of session it means."""
    with pytest.raises(Refused) as refused:
        fresh().updated({"instructions": "Be brief."}, has_spoken=False)
    assert (refused.value.code, refused.value.param) == ("missing_required_parameter", "session.type")


def test_voice_after_audio() -> None:
    """once the assistant spoke, its voice stays; to say the same again is fine."""
    config = update(fresh(), audio={"output": {"voice": "marin"}})
    assert update(config, has_spoken=True, audio={"output": {"voice": "marin"}}) == config
    with pytest.raises(Refused) as refused:
        update(config, has_spoken=True, audio={"output": {"voice": "cedar"}})
    assert refused.value.code == "cannot_update_voice"


@pytest.mark.parametrize("model", ["gpt-realtime", "gpt-realtime-mini-2025-12-15", "gpt-realtime-1.5"])
def test_reasoning_needs_a_reasoning_model(model: str) -> None:
    """reasoning is refused by models that cannot, and taken by those that can."""
    update(fresh("gpt-realtime-2.1-mini"), reasoning={"effort": "low"})
    with pytest.raises(Refused):
        update(fresh(model), reasoning={"effort": "low"})


def test_tracing_is_settled_once_on() -> None:
    """tracing cannot be changed, once it is enabled."""
    config = update(fresh(), tracing="auto")
    with pytest.raises(Refused):
        update(config, tracing=None)
