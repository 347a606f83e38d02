"""What happens in a session, in lines."""

from __future__ import annotations

from typing import Any

from cli.operate.narration import Narrator


def lines(*entries: dict[str, Any]) -> list[str]:
    narrator = Narrator()
    return [line for entry in entries for line in narrator.told({"id": "1-1", **entry})] + list(narrator.rest())


def sound(side: str, ms: float) -> dict[str, Any]:
    return {"side": side, "kind": "audio", "ms": ms, "item": "i"}


def test_sound_has_a_line_for_a_second_and_a_voice() -> None:
    assert lines(*[sound("user", 400)] * 4, sound("model", 100)) == [
        "▶ 1.2 s of sound",
        "▶ 0.4 s of sound",
        "◀ 0.1 s of sound",
    ]


def test_what_happens_is_told_in_its_place() -> None:
    done = {"side": "model", "kind": "event", "type": "response.done", "status": "completed", "usage": {"total_tokens": 9}}
    assert lines(sound("user", 100), {"side": "user", "kind": "commit", "respond": True}, done) == [
        "▶ 0.1 s of sound",
        "▶ commit · respond True",
        "◀ response.done · status completed, usage total_tokens 9",
    ]
    assert lines({"side": "model", "kind": "ended", "reason": "idle"}) == ["◀ ended · reason idle"]


def test_words_that_are_not_shown_do_not_cut_the_sound() -> None:
    delta = {"side": "model", "kind": "event", "type": "response.output_audio_transcript.delta", "item_id": "i"}
    assert lines(sound("model", 200), delta, sound("model", 200), delta) == ["◀ 0.4 s of sound"]
    assert lines({**delta, "event": {"delta": "Good"}}) == ["◀ response.output_audio_transcript.delta · “Good”"]


def test_words_are_told_where_there_are_some() -> None:
    said = {"side": "model", "kind": "event", "type": "x.done", "event": {"transcript": "Good evening."}}
    assert lines(said) == ["◀ x.done · “Good evening.”"]
    assert lines({"side": "user", "kind": "text", "text": "Hello", "role": "user"}) == ["▶ text · “Hello”"]
