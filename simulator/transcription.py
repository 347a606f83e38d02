"""PURE. The captions of the user's words: what was said nobody here knows, how long it was can be told."""

from __future__ import annotations

from collections.abc import Iterator

from simulator import usage
from simulator.answers import Utterance
from simulator.ids import Ids
from simulator.wire import Object

_BILLED_BY_DURATION = "whisper-1"


def events(item_id: str, utterance: Utterance, model: str, ids: Ids) -> Iterator[Object]:
    """One delta with the full text, as whisper-1 sends it, then the end with its own bill."""
    transcript = f"You spoke for {utterance.length}."
    place: Object = {"item_id": item_id, "content_index": 0}
    prefix = "conversation.item.input_audio_transcription"
    yield {"type": f"{prefix}.delta", **place, "delta": transcript, "obfuscation": ids.obfuscation()}
    yield {"type": f"{prefix}.completed", **place, "transcript": transcript, "usage": _usage(utterance, transcript, model)}


def _usage(utterance: Utterance, transcript: str, model: str) -> Object:
    if model == _BILLED_BY_DURATION:
        return {"type": "duration", "seconds": round(utterance.seconds, 3)}
    heard, written = usage.of_user_audio(utterance.seconds * 1000), usage.of_text(transcript)
    return {
        "type": "tokens",
        "total_tokens": heard.total + written.total,
        "input_tokens": heard.total,
        "input_token_details": heard.details(),
        "output_tokens": written.total,
    }
