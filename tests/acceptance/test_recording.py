"""A recording holds both voices as the client said and heard them, to 40 ms; also after an interruption and a reconnect."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import statistics
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np
import pytest

from runtime.embedded import EmbeddedServer
from simulator.answers import recording
from simulator.options import Options
from tests.acceptance.conftest import open_simulator
from tests.acceptance.fleet import Fleet, Member
from tests.acceptance.lateness import Lateness
from tests.acceptance.recorded import CLIENTS, RATE, Client, Sound, lags

KEY = "k" * 40
ANSWER_S = 4.0
ANSWER = ((np.random.default_rng(3).standard_normal(int(ANSWER_S * RATE)) * 3000).astype("<i2") | 1).tobytes()
TRUE_MS = 40
LATE_S = 0.1
"""So much more at most, where a process had waited for a processor since the answer began: what comes late is heard late."""


@dataclass(frozen=True)
class Stage:
    url: str
    fleet: Fleet

    async def call(self, method: str, path: str, **more: Any) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {KEY}"}
        url = "http" + self.url.removeprefix("ws") + path
        async with aiohttp.ClientSession() as http, http.request(method, url, headers=headers, **more) as response:
            return response.status, await response.read()

    async def sid_of(self, user: str, door: str) -> str:
        """Of the user's newest session at this door."""
        listed = json.loads((await self.call("GET", f"/v1/sessions?user={user}"))[1])["sessions"]
        return next(str(each["id"]) for each in listed if each["door"] == door)

    async def recorded(self, sid: str) -> dict[str, Any]:
        """What is known of the recording, when it is made."""
        limit = time.monotonic() + 20
        async with asyncio.timeout(30):
            while True:
                assert time.monotonic() < limit, ["".join(m.lines) for m in self.fleet.members]
                status, body = await self.call("GET", f"/v1/sessions/{sid}/recording")
                if status == 200 and (about := json.loads(body))["status"] in ("ready", "empty"):
                    return dict(about)
                assert body, status
                await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    more = {
        "PARLEY_RECORD": "ask",
        "PARLEY_RECORD_FORMAT": "wav",
        "PARLEY_API_KEYS": KEY,
        "PARLEY_AUTH": "off",
    }
    patch = pytest.MonkeyPatch()
    for name, value in more.items():
        patch.setenv(name, value)
    options = Options(answer=recording(ANSWER), speed=5.0, think_s=0.2)
    with EmbeddedServer() as redis, open_simulator(options) as model:
        fleet = Fleet(redis.url, model.base_url)
        try:
            gateway = fleet.start("gateway")
            fleet.start("realtime_bridge")
            fleet.start("transcoder")
            fleet.start("transcoder")
            yield Stage(gateway.url, fleet)
        finally:
            patch.undo()
            fleet.close()


def channels(wav: bytes) -> tuple[Sound, Sound]:
    with wave.open(io.BytesIO(wav)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, RATE, 2)
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    return both[:, 0], both[:, 1]


async def talk(client: Client, breaks: Callable[[], object]) -> None:
    """An answer is interrupted; in the next one the connection breaks, and another one goes on with it."""
    client.say(0.6)
    await client.hears(1.2)
    client.say(0.6)
    await asyncio.sleep(0.5)  # the answer before is silent by now
    client.heard.clear()
    await client.hears(0.3)  # the rest of it is still on its way
    breaks()
    await client.hang_up()
    await asyncio.sleep(0.4)
    client.heard.clear()
    await client.dial()
    with suppress(TimeoutError):  # all of it had come before
        await asyncio.wait_for(client.heard.wait(), 3)
    await client.falls_silent()


async def check(stage: Stage, door: str, client: Client, lateness: Lateness) -> None:
    """The recording of a call that was ended."""
    about = await stage.recorded(client.sid)
    assert about["status"] == "ready"
    user, model = channels((await stage.call("GET", f"/v1/sessions/{client.sid}/recording/audio"))[1])
    origin = about["begins_ms"] / 1000
    said = lags(user, client.mic.track(origin, len(user)))
    heard = lags(model, client.ear.track(origin, len(model)))
    assert len(said.windows) >= 2
    spoken = statistics.median(lag for lag, _ in said.windows)
    apart = sorted(abs(lag - spoken) for lag, _ in heard.windows)
    here = asyncio.get_running_loop().time() - time.time() + origin
    waited = [min(lateness.lost(here + at - ANSWER_S, here + at), LATE_S) for _, at in heard.windows]
    print(
        f"{door}: user {spoken:.1f} ms; model {len(apart)} windows, {statistics.median(apart):.1f} ms apart,"
        f" at most {apart[-1]:.1f}; {len(heard.missing)} missing; the client itself was late by {client.late_ms:.0f},"
        f" who is behind it waited for {1000 * max(waited):.0f}"
    )
    # The clients run in this process, beside all others of the suite: the machine's delays are not the system's.
    allowed = TRUE_MS + client.late_ms
    late = sum(abs(lag - spoken) > allowed + 1000 * s for (lag, _), s in zip(heard.windows, waited, strict=True))
    assert late <= len(apart) // 10, (client.late_ms, waited, heard)
    assert len(heard.missing) <= 1, heard.missing
    assert len(apart) >= 6
    assert abs(spoken) <= allowed


async def call(stage: Stage, door: str, lateness: Lateness, gateway: Member | None = None) -> None:
    """`gateway`: the one that it speaks to at first, and that is killed in the middle of an answer."""

    def kill() -> None:
        if gateway is not None:
            gateway.send(signal.SIGKILL)
            client.url = stage.url

    client = CLIENTS[door](stage.url if gateway is None else gateway.url, f"ann-{door[:3]}")
    async with client:
        await talk(client, kill)
        sid = client.sid = client.sid or await stage.sid_of(client.name, door)
        status, body = await stage.call("POST", f"/v1/sessions/{sid}/end", json={})
        assert status == 202, body
    await check(stage, door, client, lateness)


@pytest.mark.timeout(60)
async def test_both_voices_are_where_the_client_had_them(stage: Stage) -> None:
    """By cross-correlation with what each client knows of its own microphone and player.

    Meanwhile a worker dies: whoever goes on writes the same at the same place, and what was said in between is still there.
    And a gateway, which has said what its client would hear.
    """

    async def kill_a_worker() -> None:
        await asyncio.sleep(2.5)
        stage.fleet.of("transcoder")[0].send(signal.SIGKILL)

    first, *others = CLIENTS
    dying = await asyncio.to_thread(stage.fleet.start, "gateway")
    lateness = Lateness([member.process.pid for member in stage.fleet.members])
    watching = asyncio.create_task(lateness.watch())
    calls = [call(stage, first, lateness, dying), *(call(stage, door, lateness) for door in others)]
    await asyncio.gather(*calls, kill_a_worker())
    watching.cancel()


@pytest.mark.timeout(60)
async def test_nothing_is_recorded_but_while_somebody_agrees(stage: Stage) -> None:
    """The deployment asks: without a word nothing is, and a pause leaves silence."""

    async def switch(**asked: object) -> int:
        return (await stage.call("POST", f"/v1/sessions/{client.sid}/recording", json=asked))[0]

    client = CLIENTS["openai, as the SDKs"](stage.url, "eve")
    client.asks = ""
    async with client:
        client.say(0.4)
        await client.hears(0.1)
        assert await switch(action="start") == 403
        assert (await stage.call("GET", f"/v1/sessions/{client.sid}/recording"))[0] == 404
        began = time.time()
        assert await switch(action="start", consent=True) == 202
        started = time.time()
        client.say(0.4)
        await client.has_said()
        paused = time.time()
        assert await switch(action="pause") == 202
        assert await switch(action="pause") == 202
        client.say(0.4)
        await client.has_said()
        resumed = time.time()
        assert await switch(action="resume") == 202
        client.say(0.4)
        await client.has_said()
        assert (await stage.call("POST", f"/v1/sessions/{client.sid}/end", json={}))[0] == 202
    about = await stage.recorded(client.sid)
    user, _ = channels((await stage.call("GET", f"/v1/sessions/{client.sid}/recording/audio"))[1])
    origin = about["begins_ms"] / 1000
    assert began - 0.3 < origin < started + 0.3
    is_loud = np.abs(user) > 500
    silent = is_loud[round((paused + 0.1 - origin) * RATE) : round((resumed - 0.1 - origin) * RATE)]
    assert not silent.any()
    assert is_loud[: round((paused - origin) * RATE)].sum() > 0.2 * RATE
    assert is_loud[round((resumed - origin) * RATE) :].sum() > 0.2 * RATE
    log = (await stage.call("GET", f"/v1/sessions/{client.sid}/recording/log"))[1].decode().splitlines()
    said = [(line["type"], line.get("by")) for line in map(json.loads, log) if line["type"].startswith("recording.")]
    assert said == [(f"recording.{what}", who) for what, who in (("off", ""), ("on", "api"), ("off", "api"), ("on", "api"))]
    # Forgotten with the session.
    assert (await stage.call("DELETE", f"/v1/sessions/{client.sid}"))[0] == 200
    assert (await stage.call("GET", f"/v1/sessions/{client.sid}/recording"))[0] == 404
