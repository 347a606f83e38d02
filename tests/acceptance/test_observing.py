"""What can be seen of a conversation from outside, and what cannot: one process of each service, at their most talkative."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
import pytest

from runtime.embedded import EmbeddedServer
from simulator.answers import words
from simulator.options import Options
from tests.acceptance.conftest import simulator
from tests.acceptance.fleet import SERVICES, Fleet, Service
from tests.acceptance.phone import calling
from tests.media.make_media import make_clip

KEY = "backend-key-" * 3
ANSWER, ASKED = "Marzipan umbrellas never whistle.", "Do xylophones drink lemonade?"
CLIP = make_clip(samples=44_100).data
SID = re.compile(r"[0-9a-f]{32}")


@dataclass
class Talked:
    """A conversation that is over, and what its processes have said about it."""

    document: dict[str, Any]
    lines: dict[Service, list[dict[str, Any]]]
    """their logs"""
    raw: str
    """the same, and their traces, as they were written"""
    metrics: dict[Service, str]
    spans: list[dict[str, Any]]


async def talk(url: str, user: str) -> dict[str, Any]:
    """A recording and a text, each to the end of its answer, and the end; the session's document."""
    http_url, key = url.replace("ws:", "http:", 1), {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(http_url, headers=key) as api:
        async with calling(url, user, "?paced=0") as phone:
            assert (await phone.ask(CLIP)).text == ANSWER
            async with api.get(f"/v1/sessions?user={user}") as response:
                (line,) = (await response.json())["sessions"]
            async with api.post(f"/v1/sessions/{line['id']}/text", json={"text": ASKED}) as response:
                assert response.status == 202
            assert (await phone.answer()).text == ANSWER
            async with api.post(f"/v1/sessions/{line['id']}/end", json={}) as response:
                assert response.status == 202
        async with asyncio.timeout(20):
            while True:
                async with api.get(f"/v1/sessions/{line['id']}") as response:
                    document: dict[str, Any] = await response.json()
                if document["status"] == "ended":
                    return document
                await asyncio.sleep(0.02)


async def metrics_of(fleet: Fleet) -> dict[Service, str]:
    """As Prometheus gets them."""
    found: dict[Service, str] = {}
    async with aiohttp.ClientSession() as http:
        for member in fleet.members:
            (url,) = re.findall(r"metrics are at (http://\S+/metrics)", "".join(member.lines))
            async with http.get(url) as response:
                found[member.service] = await response.text()
    return found


@pytest.fixture(scope="module")
def talked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talked]:
    traces = tmp_path_factory.mktemp("traces") / "spans.jsonl"
    settings = {
        "PARLEY_TRACES": f"file:{traces}",
        "LOG_LEVEL": "DEBUG",
        "PARLEY_LOG_FORMAT": "json",
        "PARLEY_METRICS_PORT": "0",
        "PARLEY_API_KEYS": KEY,
        "PARLEY_TRANSCRIPTION_MODEL": "captions",
    }
    options = Options(answer=words(ANSWER), speed=0.0, transcription_delay_s=0.0)
    with ExitStack() as stack:
        redis = stack.enter_context(EmbeddedServer())
        base_url = stack.enter_context(simulator(options))
        fleet = Fleet(redis.url, base_url, settings=settings)
        stack.callback(fleet.close)
        fleet.complete(1)
        (gateway,) = fleet.of("gateway")
        document = asyncio.run(talk(gateway.url, "ann"))
        metrics = asyncio.run(metrics_of(fleet))
        fleet.stop()
        lines = {
            member.service: [msgspec.json.decode(line) for line in member.lines if line.startswith("{")]
            for member in fleet.members
        }
        raw = "".join(line for member in fleet.members for line in member.lines)
        written = traces.read_text()
        yield Talked(document, lines, raw + written, metrics, [msgspec.json.decode(line) for line in written.splitlines()])


def test_the_conversation_was_had(talked: Talked) -> None:
    """What is looked for in the logs was said."""
    spoken, _, asked, answer = [turn.get("text") for turn in talked.document["turns"]]  # the first answer is cut by the text
    assert (asked, answer) == (ASKED, ANSWER)
    assert "You spoke for" in spoken


def test_no_log_holds_a_word_of_it(talked: Talked) -> None:
    """Not even at DEBUG: neither what was said nor what was answered, in words or in sound."""
    said = {word for text in (ANSWER, ASKED, "You spoke for") for word in re.findall(r"\w{5,}", text)}
    assert {word for word in said if word.lower() in talked.raw.lower()} == set()
    sound = base64.b64encode(CLIP).decode()
    assert [at for at in range(0, len(sound) - 40, 400) if sound[at : at + 40] in talked.raw] == []
    assert max(len(line) for line in talked.raw.splitlines()) < 2_000


def test_every_line_that_concerns_the_session_has_its_id(talked: Talked) -> None:
    """In a field of its own: whoever looks for it finds all that happened to it, in all services."""
    sid = talked.document["id"]
    for service in SERVICES:
        of_session = [line for line in talked.lines[service] if line.get("sid") == sid]
        assert of_session, service
        named = [line for line in talked.lines[service] if SID.search(str(line["message"]))]
        assert [line for line in named if "sid" not in line] == []
    for line in talked.lines["realtime_bridge"]:
        assert line["logger"] != "realtime_bridge.session_bridge" or line["sid"] == sid


def test_each_turn_has_a_line_of_its_own(talked: Talked) -> None:
    turns = [line for line in talked.lines["realtime_bridge"] if line["message"].startswith("a turn was")]
    assert [line["message"] for line in turns] == ["a turn was heard"] * 2
    assert all(line["turn_ms"] >= 0 and line["delivery_ms"] >= 0 for line in turns)
    assert [timing["response"] for timing in talked.document["timings"]] == [line["response"] for line in turns]


@pytest.mark.parametrize(
    ("service", "counted"),
    [
        ("gateway", 'parley_gateway_queue_wait_seconds_count{stream="down"}'),
        ("transcoder", 'parley_transcoder_queue_wait_seconds_count{stream="up"}'),
        ("transcoder", "parley_transcoder_decode_seconds_count"),
        ("realtime_bridge", 'parley_bridge_queue_wait_seconds_count{stream="pcm"}'),
        ("realtime_bridge", 'parley_bridge_turns_total{outcome="heard"}'),
        ("realtime_bridge", "parley_bridge_turn_seconds_count"),
    ],
)
def test_every_service_counts(talked: Talked, service: Service, counted: str) -> None:
    """And nothing waited for less than nothing on one machine's clock."""
    samples = [line.rpartition(" ") for line in talked.metrics[service].splitlines() if not line.startswith("#")]
    values = {name: float(value) for name, _, value in samples}
    assert values[counted] >= 1
    assert [name for name, value in values.items() if "skewed" in name and value] == []


def test_a_session_is_one_trace_through_all_services(talked: Talked) -> None:
    """By its own id: whoever knows the one has the other."""
    sid = talked.document["id"]
    assert {span["context"]["trace_id"] for span in talked.spans} == {f"0x{sid}"}
    by_service: dict[str, list[str]] = {}
    for span in talked.spans:
        by_service.setdefault(span["resource"]["attributes"]["service.name"], []).append(span["name"])
    assert {service: sorted(set(names)) for service, names in by_service.items()} == {
        "parley-gateway": ["connection"],
        "parley-transcoder": ["decode", "transcode"],
        "parley-realtime_bridge": ["bridge", "commit", "delivery", "model", "session", "turn"],
    }


def test_every_span_hangs_on_the_sessions_own(talked: Talked) -> None:
    """Which is as long as the session; the stages of a turn hang on their turn, and are in it."""
    by_id = {span["context"]["span_id"]: span for span in talked.spans}
    (root,) = [span for span in talked.spans if span["parent_id"] is None]
    assert root["name"] == "session"
    assert root["attributes"]["reason"] == talked.document["reason"]
    stages = [span for span in talked.spans if span["name"] in ("commit", "model", "delivery")]
    assert {by_id[span["parent_id"]]["name"] for span in stages} == {"turn"}
    for span in stages:
        turn = by_id[span["parent_id"]]
        assert turn["start_time"] <= span["start_time"] <= span["end_time"] <= turn["end_time"]
    others = [span for span in talked.spans if span is not root and span not in stages]
    assert {by_id[span["parent_id"]]["name"] for span in others} == {"session"}
