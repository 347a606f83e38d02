"""PURE. The captions of the user's words: what was said nobody here knows, how long it was can be told."""

from __future__ import annotations

from collections.abc import Iterator

from simulator import usage
from simulator.answers import Utterance
from simulator.billing import Bill
from simulator.ids import Ids
from simulator.wire import Object

_BILLED_BY_DURATION = "whisper-1"


def bill(item_id: str, utterance: Utterance, model: str) -> Bill:
    """What it costs to write this down."""
    if model == _BILLED_BY_DURATION:
        return Bill(item_id, seconds=round(utterance.seconds, 3))
    return Bill(item_id, usage.of_user_audio(utterance.seconds * 1000), written=usage.of_text(_transcript(utterance)))


def events(bill: Bill, utterance: Utterance, ids: Ids) -> Iterator[Object]:
    """One delta with the full text, as whisper-1 sends it, then the end with its own bill."""
    transcript = _transcript(utterance)
    place: Object = {"item_id": bill.of, "content_index": 0}
    prefix = "conversation.item.input_audio_transcription"
    yield {"type": f"{prefix}.delta", **place, "delta": transcript, "obfuscation": ids.obfuscation()}
    yield {"type": f"{prefix}.completed", **place, "transcript": transcript, "usage": _usage(bill)}


def _transcript(utterance: Utterance) -> str:
    return f"You spoke for {utterance.length}."


def _usage(bill: Bill) -> Object:
    if bill.seconds:
        return {"type": "duration", "seconds": bill.seconds}
    return {
        "type": "tokens",
        "total_tokens": bill.read.total + bill.written.total,
        "input_tokens": bill.read.total,
        "input_token_details": bill.read.details(),
        "output_tokens": bill.written.total,
    }
