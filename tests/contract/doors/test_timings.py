"""How long a turn took: in the session's document, in the log, and in the metrics."""

from __future__ import annotations

import logging
import time

import pybase64
import pytest
from redis.asyncio import Redis

from runtime.embedded import EmbeddedServer, free_port
from simulator.answers import words
from simulator.options import Options
from tests.contract.doors.api_stage import Parley, has_ended, parley, parley_with_transcoder
from tests.contract.doors.openai_stage import Object, Talker
from tests.media.make_media import make_clip

FAST = Options(speed=0.0, transcription_delay_s=0.0, answer=words("Good evening."))
STAGES = ("said_ms", "committed_ms", "first_delta_ms", "first_byte_ms")


async def speaks(client: Talker) -> str:
    """One turn, to the end of its answer; the session's id."""
    await client.append(bytes(48_000))
    for kind in ("input_audio_buffer.commit", "response.create"):
        await client.say(kind)
    await client.until("response.done")
    sid: str = client.log[0]["session"]["id"].removeprefix("sess_")
    return sid


def has_timings(document: Object) -> bool:
    return bool(document.get("timings"))


def assert_in_order(timing: Object, since_ms: float, *names: str) -> None:
    """All of these times are there, one after the other, between then and now."""
    times = [timing[name] for name in names]
    assert since_ms - 1 <= times[0]
    assert times == sorted(times), timing
    assert times[-1] <= time.time() * 1000


async def exposition(whole: Parley, port: int) -> dict[str, float]:
    """What the bridge counts."""
    async with whole.http.get(f"http://127.0.0.1:{port}/metrics") as response:
        lines = [line for line in (await response.text()).splitlines() if not line.startswith("#")]
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}


async def test_each_turn_has_its_times(
    redis_server: EmbeddedServer, redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """From the end of what the user said to the moment when the client begins to play the answer, as it says."""
    port = free_port()
    began_ms = time.time() * 1000
    caplog.set_level(logging.INFO, "realtime_bridge.session_bridge")
    async with parley(redis_server, FAST, bridge={"PARLEY_METRICS_PORT": port}) as whole:
        async with whole.talker("?parley=1") as client:
            sid = (await client.hear())["session"]["id"].removeprefix("sess_")
            await client.append(bytes(48_000), useq=1)
            await client.say("input_audio_buffer.commit", useq=2)
            await client.say("response.create", useq=3)
            delta = (await client.until("response.output_audio.delta"))[-1]
            played = {"did": delta["did"], "item_id": delta["item_id"], "played_ms": 1}
            await client.say("parley.played", **played, useq=4)
            live = await whole.api.document(sid, has_timings)
        (timing,) = live["timings"]
        assert_in_order(timing, began_ms, *STAGES)
        assert timing["committed_ms"] <= timing["playback_ms"] + 1 <= time.time() * 1000 + 1
        assert timing["answer"] == delta["item_id"]
        assert timing["item"] == live["turns"][0]["item"]
        counted = await exposition(whole, port)
        assert counted['parley_bridge_turns_total{outcome="heard"}'] == 1
        assert counted["parley_bridge_turn_seconds_count"] == 1
        for stage in ("commit", "model", "delivery"):
            assert counted[f'parley_bridge_turn_stage_seconds_count{{stage="{stage}"}}'] == 1
        assert counted['parley_bridge_queue_wait_seconds_count{stream="pcm"}'] >= 1
    (record,) = [record for record in caplog.records if record.getMessage() == "a turn was heard"]
    logged = vars(record)
    assert (logged["sid"], logged["item"]) == (sid, timing["item"])
    assert logged["turn_ms"] == timing["first_byte_ms"] - timing["said_ms"]
    assert logged["model_ms"] == timing["first_delta_ms"] - timing["committed_ms"]


async def test_a_turn_that_is_not_over_is_kept_at_the_sessions_end(redis_server: EmbeddedServer, redis: Redis) -> None:
    """A client that does not say when it plays leaves right after its answer."""
    began_ms = time.time() * 1000
    async with parley(redis_server, FAST) as whole:
        async with whole.talker() as client:
            sid = await speaks(client)
        ended = await whole.api.document(sid, has_ended)
        (timing,) = ended["timings"]
        assert_in_order(timing, began_ms, *STAGES)
        assert "playback_ms" not in timing


async def test_a_recording_was_said_before_it_was_decoded(redis_server: EmbeddedServer, redis: Redis) -> None:
    """The transcoder's part is the turn's, too."""
    began_ms = time.time() * 1000
    async with parley_with_transcoder(redis_server, FAST) as whole:
        async with whole.http.ws_connect(whole.urls[0] + "/ws-mobile/ann") as phone:
            clip = make_clip(samples=44_100).data
            await phone.send_json({"type": "audio", "audio": pybase64.b64encode_as_string(clip)})
            while (await phone.receive_json(timeout=20))["type"] != "text_response":
                pass
            (line,) = (await whole.api.ask("GET", "/v1/sessions?user=ann")).body["sessions"]
            await whole.api.ask("POST", f"/v1/sessions/{line['id']}/end", {})
        ended = await whole.api.document(line["id"], has_ended)
        (timing,) = ended["timings"]
        assert_in_order(timing, began_ms, *STAGES)


async def test_a_gateway_counts_how_long_what_it_is_told_has_waited(redis_server: EmbeddedServer, redis: Redis) -> None:
    async with parley(redis_server, FAST) as whole:
        async with whole.talker() as client:
            await speaks(client)
        async with whole.http.get(f"{whole.urls[0]}/metrics") as response:
            counted = await response.text()
    counts = [line for line in counted.splitlines() if line.startswith("parley_gateway_queue_wait_seconds_count")]
    waits = {line.partition(" ")[0].partition("{")[2]: float(line.partition(" ")[2]) for line in counts}
    assert waits['stream="down"}'] >= 3
    assert waits['stream="play"}'] == 0
