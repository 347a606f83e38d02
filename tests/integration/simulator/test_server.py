from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError

from simulator.answers import Echo, tone
from simulator.options import Options
from simulator.orders import ORDERS, silence, speech
from simulator.script import Order
from simulator.server import CannotListen, Running, running
from simulator.wire import Object, audio_bytes, audio_text, decode, encode

AT_ONCE = Options(speed=0)


@asynccontextmanager
async def connected(
    options: Options, query: str = "?model=m", headers: dict[str, str] | None = None
) -> AsyncIterator[tuple[ClientWebSocketResponse, Running]]:
    async with (
        running(options) as server,
        ClientSession() as http,
        http.ws_connect(server.url + query, headers=headers or {}, max_msg_size=0) as ws,
    ):
        yield ws, server


async def send(ws: ClientWebSocketResponse, kind: str, **fields: object) -> None:
    await ws.send_frame(encode({"type": kind, **fields}), WSMsgType.TEXT)


async def receive(ws: ClientWebSocketResponse) -> Object:
    message = await ws.receive(timeout=10)
    assert message.type is WSMsgType.TEXT, message
    return decode(message.data)


async def receive_until(ws: ClientWebSocketResponse, kind: str) -> list[Object]:
    events = [await receive(ws)]
    while events[-1]["type"] != kind:
        events.append(await receive(ws))
    return events


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: f"{order.section} {order.name}")
async def test_orders(order: Order) -> None:
    """each order holds on a real socket."""
    async with connected(order.options) as (ws, _):
        run = order.run()
        while not run.is_complete:
            for event in run.to_send():
                await ws.send_frame(encode(event), WSMsgType.TEXT)
            run.feed(await receive(ws))


async def test_echo_over_the_wire() -> None:
    """what was said in 20 ms appends comes back sample for sample, and the test can look at what was received."""
    audio = audio_bytes(speech(1.0), "") + audio_bytes(silence(1.0), "")
    async with connected(AT_ONCE) as (ws, server):
        for start in range(0, len(audio), 960):
            await send(ws, "input_audio_buffer.append", audio=audio_text(audio[start : start + 960]))
        events = await receive_until(ws, "response.done")
        deltas = [str(event["delta"]) for event in events if event["type"] == "response.output_audio.delta"]
        heard = b"".join(audio_bytes(delta, "") for delta in deltas)
        recording = server.sessions[0].recording
        assert heard == audio[: 1500 * 48]
        assert list(recording.utterances) == [heard]
        assert recording.appended == audio


@pytest.mark.parametrize(
    ("query", "headers", "close_code", "reason"),
    [
        ("?model=m", {}, 3000, "invalid_request_error"),
        ("?model=m", {"Authorization": "Bearer no"}, 3000, "invalid_request_error.invalid_api_key"),
        ("", {"Authorization": "Bearer yes"}, 4000, "invalid_request_error.missing_model"),
        ("?model=n", {"Authorization": "Bearer yes"}, 4000, "invalid_request_error.invalid_model"),
        (
            "?model=m",
            {"Authorization": "Bearer yes", "OpenAI-Beta": "realtime=v1"},
            4000,
            "invalid_request_error.beta_api_shape_disabled",
        ),
    ],
)
async def test_refused_in_band(query: str, headers: dict[str, str], close_code: int, reason: str) -> None:
    """who is not let in gets an error event, then a close that says the same."""
    options = Options(api_key="yes", models=frozenset({"m"}))
    async with connected(options, query, headers) as (ws, server):
        assert (await receive(ws))["type"] == "error"
        message = await ws.receive(timeout=10)
        assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, close_code, reason)
        assert not server.sessions


async def test_refused_by_status() -> None:
    """on demand, the upgrade itself is refused."""
    with pytest.raises(WSServerHandshakeError) as refused:
        async with connected(Options(reject_http=429)):
            pass
    assert refused.value.status == 429


async def test_browser() -> None:
    """a browser hands its key over as a subprotocol, and gets the one that counts."""
    async with running(Options(api_key="yes")) as server, ClientSession() as http:
        protocols = ("realtime", "openai-insecure-api-key.yes")
        async with http.ws_connect(server.url + "?model=m", protocols=protocols) as ws:
            assert ws.protocol == "realtime"
            assert (await receive(ws))["type"] == "session.created"


async def test_expiry() -> None:
    """the socket is closed with 1001 when the session's time is over."""
    async with connected(Options(session_s=0.05)) as (ws, _):
        await receive(ws)
        message = await ws.receive(timeout=10)
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
        assert "maximum duration" in str(message.extra)


async def test_mistakes_are_not_fatal() -> None:
    """neither a binary frame nor nonsense ends the connection."""
    async with connected(AT_ONCE) as (ws, _):
        await receive(ws)
        await ws.send_bytes(b"\x00")
        await ws.send_str("{")
        await send(ws, "no.such.type")
        assert [(await receive(ws))["type"] for _ in range(3)] == ["error"] * 3
        await send(ws, "input_audio_buffer.clear")
        assert (await receive(ws))["type"] == "input_audio_buffer.cleared"


async def test_pings() -> None:
    """the server pings with four bytes, also while nothing is said."""
    async with (
        running(Options(ping_interval_s=0.02)) as server,
        ClientSession() as http,
        http.ws_connect(server.url + "?model=m", autoping=False) as ws,
    ):
        await receive(ws)
        message = await ws.receive(timeout=10)
        assert (message.type, len(message.data)) == (WSMsgType.PING, 4)


async def test_live_echo() -> None:
    """each append comes back at once, as the very text that was sent."""
    async with connected(Options(answer=Echo(live=True))) as (ws, _):
        for seconds in (0.02, 0.04):
            await send(ws, "input_audio_buffer.append", audio=speech(seconds))
            events = await receive_until(ws, "response.output_audio.delta")
            assert events[-1]["delta"] == speech(seconds)


async def test_client_vanishes() -> None:
    """a client that is gone in the middle of an answer is nobody's problem."""
    async with running(Options(speed=100.0, answer=tone(440, 30))) as server, ClientSession() as http:
        ws = await http.ws_connect(server.url + "?model=m")
        await send(ws, "response.create")
        await receive_until(ws, "response.output_audio.delta")
        connection = ws._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()
        async with http.ws_connect(server.url + "?model=m") as other:
            assert (await receive(other))["type"] == "session.created"


async def test_sessions_apart() -> None:
    """two clients share nothing."""
    async with (
        running(AT_ONCE) as server,
        ClientSession() as http,
        http.ws_connect(server.url + "?model=a") as first,
        http.ws_connect(server.url + "?model=b") as second,
    ):
        await asyncio.gather(receive(first), receive(second))
        await send(first, "session.update", session={"type": "realtime", "instructions": "mine"})
        await send(second, "input_audio_buffer.commit")
        assert (await receive(first))["type"] == "session.updated"
        assert (await receive(second))["type"] == "error"
        assert len({session.id for session in server.sessions}) == 2
        assert server.sessions[1].config.wire["instructions"] != "mine"


async def test_nothing_is_remembered() -> None:
    """without recording, a session that ended leaves nothing behind."""
    async with connected(Options(record_s=0)) as (ws, server):
        await receive(ws)
        assert not server.sessions


async def test_server_stops() -> None:
    """when the server stops, clients are told that it goes away."""
    async with ClientSession() as http:
        async with running(AT_ONCE) as server:
            ws = await http.ws_connect(server.url + "?model=m")
            await receive(ws)
            closed = asyncio.create_task(ws.receive(timeout=10))
        message = await closed
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
        await ws.close()


async def test_it_says_that_it_lives() -> None:
    """to a health check, also while it refuses everybody else on demand."""
    async with (
        running(Options(reject_http=503)) as server,
        ClientSession() as http,
        http.get(server.base_url.removesuffix("/v1") + "/livez") as response,
    ):
        assert (response.status, await response.json()) == (200, {"status": "live"})


async def test_busy_port() -> None:
    """a port that is taken is told in a sentence."""
    async with running(AT_ONCE) as server:
        port = int(server.base_url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(CannotListen, match="cannot listen on 127"):
            async with running(AT_ONCE, port=port):
                pass
