"""From the end of what was said to the first sound of the answer."""

from __future__ import annotations

from typing import Any

import msgspec

from realtime_bridge import server_events as hear
from realtime_bridge.latency import AnswerLatency

STOPPED = {"type": "input_audio_buffer.speech_stopped", "item_id": "i", "audio_end_ms": 1}
STARTED = {"type": "input_audio_buffer.speech_started", "item_id": "i", "audio_start_ms": 1}
COMMITTED = {"type": "input_audio_buffer.committed", "item_id": "i"}
CREATED = {"type": "response.created", "response": {"id": "r"}}
DELTA = {
    "type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0,
    "delta": "AAAA",
}  # fmt: skip
DONE = {"type": "response.done", "response": {"id": "r"}}


def latency(*said: tuple[int, dict[str, Any]]) -> int | None:
    latency = AnswerLatency()
    for now, event in said:
        latency.heard(hear.parse(msgspec.json.encode(event)), now)
    return latency.ms


def test_it_counts_from_the_end_of_speech() -> None:
    assert latency((100, STOPPED), (130, COMMITTED), (150, CREATED), (400, DELTA), (500, DELTA)) == 300
    assert latency((130, COMMITTED), (150, CREATED), (400, DELTA)) == 270
    assert latency((150, CREATED), (400, DELTA)) == 250


def test_it_is_of_the_latest_answer_that_was_spoken() -> None:
    first = ((0, STOPPED), (10, CREATED), (50, DELTA), (60, DONE))
    assert latency(*first, (100, STOPPED), (300, DELTA)) == 200
    assert latency(*first, (100, STOPPED), (120, CREATED), (300, DONE), (900, DELTA)) == 50
    assert latency(*first, (100, STOPPED), (120, STARTED), (900, DELTA)) == 50
    assert latency() is None
