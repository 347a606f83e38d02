from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError

from simulator.answers import tone
from simulator.faults import Fault
from simulator.options import Options
from simulator.server import Running, running
from simulator.wire import audio_bytes, audio_text, decode
from tests.integration.simulator.test_command import first_line, simulator
from tests.integration.simulator.test_server import AT_ONCE, connected, receive, receive_until, send


def control(server: Running, path: str) -> str:
    return server.base_url.removesuffix("/v1") + "/simulator/" + path


async def test_it_tells_what_it_received() -> None:
    """sample by sample, and the audio itself, also after the session has ended."""
    audio = bytes(range(256)) * 40
    async with running(AT_ONCE) as server, ClientSession() as http:
        async with http.ws_connect(server.url + "?model=m") as ws:
            await send(ws, "session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
            for start in range(0, len(audio), 961):
                await send(ws, "input_audio_buffer.append", audio=audio_text(audio[start : start + 961]))
            await send(ws, "input_audio_buffer.commit")
            await send(ws, "input_audio_buffer.append", audio=audio_text(bytes(200)))
            await send(ws, "response.create")
            await receive_until(ws, "response.done")
            async with http.get(control(server, "sessions")) as response:
                (told,) = (await response.json())["sessions"]
        assert (told["samples_received"], told["samples_committed"]) == (5_220, 5_120)
        assert told["client_events"]["input_audio_buffer.append"] == 12
        assert (told["model"], told["connection"], told["running"], told["refused"]) == ("m", 1, True, 0)
        assert [each["status"] for each in told["responses"]] == ["completed"]
        async with asyncio.timeout(10):
            while told["running"]:
                async with http.get(control(server, "sessions")) as response:
                    (told,) = (await response.json())["sessions"]
        async with http.get(control(server, f"sessions/{told['id']}/audio")) as response:
            assert await response.read() == audio + bytes(200)
        async with http.get(control(server, f"sessions/{told['id']}/audio?of=committed")) as response:
            assert await response.read() == audio
        async with http.get(control(server, "sessions/none/audio")) as response:
            assert response.status == 404


async def test_audio_of_the_latest_is_kept() -> None:
    """the counts of those before stay."""
    async with running(Options(recorded_sessions=1, keeps_sessions=False)) as server, ClientSession() as http:
        for _ in range(2):
            async with http.ws_connect(server.url + "?model=m") as ws:
                await send(ws, "input_audio_buffer.append", audio=audio_text(bytes(480)))
                await send(ws, "input_audio_buffer.clear")
                await receive_until(ws, "input_audio_buffer.cleared")
        assert not server.sessions
        async with http.get(control(server, "sessions")) as response:
            told = (await response.json())["sessions"]
        assert [each["samples_received"] for each in told] == [240, 240]
        kept = []
        for each in told:
            async with http.get(control(server, f"sessions/{each['id']}/audio")) as response:
                kept.append(len(await response.read()))
        assert kept == [0, 480]


async def test_faults_for_the_next_connection() -> None:
    """#1 is the next one; the handshake is refused, then it goes well."""
    async with running(AT_ONCE) as server, ClientSession() as http:
        async with http.ws_connect(server.url + "?model=m") as ws:
            await receive(ws)
        async with http.post(control(server, "faults"), json={"faults": ["http=429", "close=1011@1#2"]}) as response:
            assert (response.status, await response.json()) == (200, {"faults": 2})
        with pytest.raises(WSServerHandshakeError) as refused:
            await http.ws_connect(server.url + "?model=m")
        assert refused.value.status == 429
        async with http.ws_connect(server.url + "?model=m") as ws:
            await receive(ws)
            assert (await ws.receive(timeout=10)).data == 1011
        await http.post(control(server, "faults"), json={"faults": ["reset@1#*"]})
        await http.delete(control(server, "faults"))
        async with http.ws_connect(server.url + "?model=m") as ws:
            await receive(ws)
            await send(ws, "input_audio_buffer.clear")
            assert (await receive(ws))["type"] == "input_audio_buffer.cleared"


async def test_faults_for_a_running_session() -> None:
    """events and seconds count from the request; the others go on."""
    async with connected(AT_ONCE) as (ws, server), ClientSession() as http:
        await receive(ws)
        order = {"session": server.sessions[0].id, "faults": ["error=conversation_already_has_active_response@1"]}
        async with http.post(control(server, "faults"), json=order) as response:
            assert response.status == 200
        await send(ws, "input_audio_buffer.clear")
        assert (await receive(ws))["type"] == "input_audio_buffer.cleared"
        error = (await receive(ws))["error"]
        assert isinstance(error, dict)
        assert (error["type"], error["code"]) == ("invalid_request_error", "conversation_already_has_active_response")
        async with http.post(control(server, "faults"), json={**order, "faults": ["close=1012@0.01s"]}) as response:
            assert response.status == 200
        message = await ws.receive(timeout=10)
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1012)


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ("{", 400),
        ('{"faults": "reset@1"}', 400),
        ('{"faults": ["burn@1"]}', 400),
        ('{"faults": ["reset@1"], "session": "none"}', 404),
    ],
)
async def test_what_cannot_be_planned_is_told(order: str, status: int) -> None:
    async with (
        running(AT_ONCE) as server,
        ClientSession() as http,
        http.post(control(server, "faults"), data=order) as response,
    ):
        assert response.status == status
        assert (await response.json())["error"]["message"]


async def test_the_key_opens_it() -> None:
    async with running(Options(api_key="yes")) as server, ClientSession() as http:
        async with http.get(control(server, "sessions")) as response:
            assert response.status == 401
        async with http.get(control(server, "sessions"), headers={"Authorization": "Bearer yes"}) as response:
            assert response.status == 200


async def test_after_seconds() -> None:
    """nobody needs to say anything."""
    async with connected(Options(faults=(Fault.parse("garbage@0.01s"), Fault.parse("close=1011@0.05s")))) as (ws, _):
        await receive(ws)
        assert (await ws.receive(timeout=10)).data == '{"type":'
        message = await ws.receive(timeout=10)
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1011)


async def test_a_silent_line_answers_no_ping() -> None:
    """and sends none, also when it fell silent while the server was waiting for the client."""
    async with (
        running(Options(ping_interval_s=0.05)) as server,
        ClientSession() as http,
        http.ws_connect(server.url + "?model=m", autoping=False) as ws,
    ):
        await receive(ws)
        await ws.ping(b"1")
        while (message := await ws.receive(timeout=10)).type is WSMsgType.PING:
            pass
        assert message.type is WSMsgType.PONG
        order = {"session": server.sessions[0].id, "faults": ["error@0s", "silent@0s", "error@0.1s"]}
        await http.post(control(server, "faults"), json=order)
        while (message := await ws.receive(timeout=10)).type is WSMsgType.PING:
            pass
        assert decode(str(message.data))["type"] == "error"
        await ws.ping(b"2")
        with pytest.raises(TimeoutError):
            await ws.receive(timeout=0.3)
        connection = ws._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()


async def test_sound_after_a_cancel() -> None:
    """the last piece comes again, under the ids of the response that is over."""
    options = Options(speed=1, answer=tone(440, 30), faults=(Fault.parse("zombie=3@response.cancelled:1"),))
    async with connected(options) as (ws, _):
        await send(ws, "response.create")
        await receive_until(ws, "response.output_audio.delta")
        await send(ws, "response.cancel")
        *before, done = await receive_until(ws, "response.done")
        zombies = [await receive(ws) for _ in range(3)]
        assert isinstance(done["response"], dict)
        assert {each["type"] for each in zombies} == {"response.output_audio.delta"}
        assert {each["response_id"] for each in zombies} == {done["response"]["id"]}
        assert len({each["event_id"] for each in (*before, *zombies)}) == len(before) + 3
        assert audio_bytes(str(zombies[0]["delta"]), "")


async def test_command(tmp_path: Path) -> None:
    """a script refuses and closes; what was received is told by default."""
    script = tmp_path / "faults.jsonl"
    script.write_text('{"connection": 1, "faults": ["http=503"]}\n"close=1011@2#2"\n')
    async with simulator("--port", "0", "--script", str(script)) as process, ClientSession() as http:
        url = (await first_line(process)).split()[-1]
        with pytest.raises(WSServerHandshakeError) as refused:
            await http.ws_connect(f"{url}?model=m")
        assert refused.value.status == 503
        async with http.ws_connect(f"{url}?model=m") as ws:
            await receive(ws)
            await send(ws, "input_audio_buffer.append", audio=audio_text(bytes(480)))
            await send(ws, "input_audio_buffer.clear")
            await receive(ws)
            assert (await ws.receive(timeout=10)).data == 1011
        base = url.replace("ws:", "http:").removesuffix("/v1/realtime")
        async with http.get(f"{base}/simulator/sessions") as response:
            (told,) = json.loads(await response.read())["sessions"]
        assert (told["samples_received"], told["connection"]) == (240, 2)
        async with http.get(f"{base}/simulator/sessions/{told['id']}/audio") as response:
            assert await response.read() == bytes(480)


async def test_bad_script(tmp_path: Path) -> None:
    """one sentence on stderr and exit code 2."""
    for script in (tmp_path / "missing", tmp_path / "bad"):
        (tmp_path / "bad").write_text('["burn@1"]')
        async with simulator("--script", str(script)) as process:
            _, stderr = await asyncio.wait_for(process.communicate(), 30)
            assert (process.returncode, stderr.decode().count("\n")) == (2, 1)
