"""The socket to the model's server, against a server that misbehaves in every way that servers do, and the simulator."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from realtime_bridge import server_events as hear
from realtime_bridge.client_events import (
    ConversationItemCreate,
    ResponseCreate,
    ServerVad,
    SessionUpdate,
    append_frame,
    encode,
    session_config,
    user_text,
)
from realtime_bridge.dialects import realtime_url
from realtime_bridge.errors import UpstreamClosed, UpstreamError, UpstreamRefused, UpstreamUnavailable
from realtime_bridge.upstream import Received, Upstream, dial
from simulator.options import Options
from simulator.server import running

Session = Callable[[web.WebSocketResponse], Awaitable[None]]
CREATED = '{"type":"session.created","session":{"id":"sess_1","expires_at":1795000000}}'


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """A server in this process; the URL to dial."""
    app = web.Application()
    app.router.add_get("/v1/realtime", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield realtime_url(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", "m")
    finally:
        await runner.cleanup()


@asynccontextmanager
async def talking(session: Session) -> AsyncIterator[str]:
    """A server that lets everybody in, and then does as the session says."""

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(timeout=0.1)
        await ws.prepare(request)
        await session(ws)
        return ws

    async with serving(handler) as url:
        yield url


def saying(*frames: str | bytes, close: tuple[int, bytes] | None = None) -> Session:
    """Say this, then close, or listen until the client has had enough."""

    async def session(ws: web.WebSocketResponse) -> None:
        for frame in frames:
            await (ws.send_str(frame) if isinstance(frame, str) else ws.send_bytes(frame))
        if close:
            await ws.close(code=close[0], message=close[1])
        async for _ in ws:
            pass

    return session


def error(code: str | None) -> str:
    return json.dumps({"type": "error", "error": {"type": "invalid_request_error", "code": code, "message": "No."}})


async def failure(
    http: aiohttp.ClientSession, url: str, *, connect_s: float = 10.0, greeting_s: float = 10.0
) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await dial(http, url, "k", connect_timeout_s=connect_s, greeting_timeout_s=greeting_s)
    return caught.value


async def rest(upstream: Upstream) -> list[Received]:
    return [received async for received in upstream]


# ---- connecting -----------------------------------------------------------------------------------------------------


async def test_the_key_is_the_only_credential_we_send(http: aiohttp.ClientSession) -> None:
    """Authorization and nothing of the older dialect; no compression; the model in the query."""
    seen: list[web.Request] = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        seen.append(request)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await saying(CREATED)(ws)
        return ws

    async with serving(handler) as url:
        async with await dial(http, url, "k") as upstream:
            assert upstream.session.id == "sess_1"
            assert upstream.created == Received(hear.parse(CREATED), CREATED)
        async with await dial(http, url, None):
            pass
    with_key, without_key = seen
    assert with_key.headers["Authorization"] == "Bearer k"
    assert with_key.query == {"model": "m"}
    assert "OpenAI-Beta" not in with_key.headers
    assert "Sec-WebSocket-Extensions" not in with_key.headers
    assert "Authorization" not in without_key.headers


@pytest.mark.parametrize(
    ("code", "close_code"),
    [("invalid_api_key", 3000), ("invalid_model", 4000), ("model_not_found", 4004), ("insufficient_permissions", 3000)],
)
async def test_a_refusal_in_band(http: aiohttp.ClientSession, code: str, close_code: int) -> None:
    """The upgrade succeeds; an error and a CLOSE follow. Not to be tried again."""
    reason = f"invalid_request_error.{code}".encode()
    async with talking(saying(error(code), close=(close_code, reason))) as url:
        refused = await failure(http, url)
    assert isinstance(refused, UpstreamRefused)
    assert refused.code == code


async def test_a_refusal_by_close_alone(http: aiohttp.ClientSession) -> None:
    """No error event, but a reason that names one."""
    async with talking(saying(close=(3000, b"invalid_request_error.invalid_api_key"))) as url:
        refused = await failure(http, url)
    assert isinstance(refused, UpstreamRefused)
    assert str(refused) == "The model's server refused the key (invalid_api_key): check OPENAI_API_KEY."


@pytest.mark.parametrize("status", [401, 403, 404, 400])
async def test_a_refusal_by_http(http: aiohttp.ClientSession, status: int) -> None:
    """As Azure and proxies refuse. The error does not hold the key, however it is printed."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status)

    async with serving(handler) as url:
        with pytest.raises(UpstreamRefused) as caught:
            await dial(http, url, "sk-secret")
    assert caught.value.code == f"http_{status}"
    assert caught.value.__suppress_context__
    assert "sk-secret" not in repr(caught.value)


@pytest.mark.parametrize(("status", "retry_after_s"), [(429, 7.0), (500, None), (503, 2.0)])
async def test_a_busy_server(http: aiohttp.ClientSession, status: int, retry_after_s: float | None) -> None:
    """May have room later, and may say when."""

    async def handler(request: web.Request) -> web.Response:
        headers = {} if retry_after_s is None else {"Retry-After": f"{retry_after_s:.0f}"}
        return web.Response(status=status, headers=headers)

    async with serving(handler) as url:
        busy = await failure(http, url)
    assert isinstance(busy, UpstreamUnavailable)
    assert (busy.code, busy.retry_after_s) == (f"http_{status}", retry_after_s)


async def test_a_web_page_where_the_server_should_be(http: aiohttp.ClientSession) -> None:
    """200 is an answer, but to another question."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text="Welcome!")

    async with serving(handler) as url:
        refused = await failure(http, url)
    assert isinstance(refused, UpstreamRefused)
    assert "does not speak WebSocket" in str(refused)


async def test_silence_after_the_upgrade(http: aiohttp.ClientSession) -> None:
    """A server that lets us in and then says nothing is not waited for."""
    async with talking(saying()) as url:
        silent = await failure(http, url, greeting_s=0.05)
    assert isinstance(silent, UpstreamUnavailable)
    assert silent.code == "silent"


async def test_silence_before_the_upgrade(http: aiohttp.ClientSession) -> None:
    """Nor is one that takes the connection and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        late = await failure(http, f"ws://127.0.0.1:{listener.getsockname()[1]}/v1/realtime", connect_s=0.05)
    assert isinstance(late, UpstreamUnavailable)
    assert late.code == "timeout"


async def test_nobody_listens(http: aiohttp.ClientSession) -> None:
    """A refused TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    gone = await failure(http, f"ws://127.0.0.1:{port}/v1/realtime")
    assert isinstance(gone, UpstreamUnavailable)
    assert gone.code == "unreachable"
    assert f"127.0.0.1:{port} cannot be reached: " in str(gone)


async def test_a_name_that_is_not_found(http: aiohttp.ClientSession) -> None:
    """`.invalid` never is."""
    unknown = await failure(http, "ws://parley.invalid/v1/realtime")
    assert isinstance(unknown, UpstreamUnavailable)
    assert unknown.code == "dns"


async def test_no_tls_where_tls_should_be(http: aiohttp.ClientSession) -> None:
    """https for http is told apart from a line that is down."""
    async with talking(saying(CREATED)) as url:
        plain = await failure(http, url.replace("ws://", "wss://"))
    assert isinstance(plain, UpstreamUnavailable)
    assert plain.code == "tls"


async def test_not_http_at_all(http: aiohttp.ClientSession) -> None:
    """Something that answers in a protocol of its own, or hangs up on us."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        dropped = await failure(http, f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/realtime")
    assert isinstance(dropped, UpstreamUnavailable)
    assert dropped.code == "dropped"


async def test_a_line_that_breaks_before_the_greeting(http: aiohttp.ClientSession) -> None:
    """TCP ends without a CLOSE: worth another try."""

    async def session(ws: web.WebSocketResponse) -> None:
        assert ws._req
        assert ws._req.transport
        ws._req.transport.abort()

    async with talking(session) as url:
        broken = await failure(http, url)
    assert isinstance(broken, UpstreamUnavailable)
    assert broken.code == "close_1006"


async def test_what_comes_before_the_greeting_is_passed_over(http: aiohttp.ClientSession) -> None:
    """Garbage, unknown events, and an error that was not meant that badly."""
    frames = ("garbage", '{"type":"ping"}', b"\x00", error("who_knows"), CREATED)
    async with talking(saying(*frames)) as url, await dial(http, url, "k") as upstream:
        assert upstream.session.expires_at == 1795000000
        assert upstream.malformed == 2


async def test_a_dial_that_is_given_up_leaves_nothing_open(http: aiohttp.ClientSession) -> None:
    """Cancelled between the upgrade and the greeting, it hangs up."""
    arrived, left = asyncio.Event(), asyncio.Event()

    async def session(ws: web.WebSocketResponse) -> None:
        arrived.set()
        await saying()(ws)
        left.set()

    async with talking(session) as url:
        dialling = asyncio.create_task(dial(http, url, "k"))
        await arrived.wait()
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling
        async with asyncio.timeout(5):
            await left.wait()


# ---- talking --------------------------------------------------------------------------------------------------------


async def test_events_come_with_the_text_they_came_in(http: aiohttp.ClientSession) -> None:
    """Known and unknown ones, in order; what is no event is counted and left out."""
    cleared, unknown = '{"type":"input_audio_buffer.cleared","extra":1}', '{"type":"response.cancelled"}'
    frames = (CREATED, cleared, "garbage", b"\x00\x01", unknown, '{"type":"error"}')
    async with talking(saying(*frames, close=(1000, b""))) as url, await dial(http, url, "k") as upstream:
        received = [await anext(upstream), await anext(upstream)]
        with pytest.raises(UpstreamClosed):
            await anext(upstream)
    assert received == [
        Received(hear.InputAudioBufferCleared(), cleared),
        Received(hear.Unknown("response.cancelled", unknown.encode()), unknown),
    ]
    assert upstream.malformed == 3


async def test_malformed_frames_are_logged_once_and_without_what_they_say(
    http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning a socket: a server that speaks nonsense does so often."""
    nonsense = '{"type":"response.output_text.done","text":["my secret"]}'
    session = saying(CREATED, nonsense, nonsense, close=(1000, b""))
    async with talking(session) as url, await dial(http, url, "k") as upstream:
        with pytest.raises(UpstreamClosed):
            await rest(upstream)
    assert len([each for each in caplog.records if each.levelname == "WARNING"]) == 1
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("close_code", "reason", "retryable"), [(1001, "maximum duration", True), (1011, "", True), (4000, "", False)]
)
async def test_a_close_in_mid_session(http: aiohttp.ClientSession, close_code: int, reason: str, retryable: bool) -> None:
    """Iteration raises; so does whoever sends."""
    async with talking(saying(CREATED, close=(close_code, reason.encode()))) as url, await dial(http, url, "k") as upstream:
        with pytest.raises(UpstreamClosed) as caught:
            await rest(upstream)
        with pytest.raises(UpstreamClosed) as caught_sending:
            await upstream.send("{}")
    closed = caught.value
    assert (closed.close_code, closed.reason, closed.retryable) == (close_code, reason, retryable)
    assert caught_sending.value.close_code == close_code


@pytest.mark.parametrize("abort", [True, False], ids=["reset", "end of file"])
async def test_a_line_that_breaks_in_mid_session(http: aiohttp.ClientSession, abort: bool) -> None:
    """TCP ends without a CLOSE. That is never a polite end, though aiohttp may call it 1000."""

    async def session(ws: web.WebSocketResponse) -> None:
        await ws.send_str(CREATED)
        assert ws._req
        assert ws._req.transport
        (ws._req.transport.abort if abort else ws._req.transport.close)()

    async with talking(session) as url, await dial(http, url, "k") as upstream:
        with pytest.raises(UpstreamClosed) as caught:
            await rest(upstream)
    assert (caught.value.close_code, caught.value.retryable) == (1006, True)


async def test_a_server_that_answers_no_ping_is_gone(http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is dead without a word ends the session too."""
    monkeypatch.setattr("realtime_bridge.upstream.HEARTBEAT_S", 0.5)  # it has to say that it is there before that

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(autoping=False, timeout=0.1)
        await ws.prepare(request)
        await saying(CREATED)(ws)
        return ws

    async with serving(handler) as url, await dial(http, url, "k") as upstream:
        with pytest.raises(UpstreamClosed) as caught:
            await anext(upstream)
    assert (caught.value.close_code, caught.value.retryable) == (1006, True)


async def test_closing_ends_the_iteration_of_another_task(http: aiohttp.ClientSession) -> None:
    """We hang up: no error anywhere, and the server hears a CLOSE 1000."""
    codes: list[int | None] = []

    async def session(ws: web.WebSocketResponse) -> None:
        await saying(CREATED)(ws)
        codes.append(ws.close_code)

    async with talking(session) as url:
        upstream = await dial(http, url, "k")
        reading = asyncio.create_task(rest(upstream))
        await asyncio.sleep(0)
        await upstream.close()
        assert await reading == []
        await upstream.close()
        with pytest.raises(UpstreamClosed):
            await upstream.send("{}")
    assert codes == [1000]


async def test_a_frame_larger_than_aiohttp_would_take(http: aiohttp.ClientSession) -> None:
    """An item retrieved with its audio is one frame."""
    giant = json.dumps({"type": "response.output_audio.delta", "delta": "A" * (5 * 1024 * 1024)})
    async with talking(saying(CREATED, giant)) as url, await dial(http, url, "k") as upstream:
        received = await anext(upstream)
    assert isinstance(received.event, hear.ResponseOutputAudioDelta)
    assert len(received.event.delta) == 5 * 1024 * 1024


# ---- with the simulator ---------------------------------------------------------------------------------------------


async def test_a_turn_with_the_simulator(http: aiohttp.ClientSession) -> None:
    """Session, item, response: each event of the simulator's reads, and none is unknown."""
    events: list[hear.ServerEvent | hear.Unknown] = []
    session = session_config(
        instructions="Be brief.", voice="marin", turn_detection=ServerVad(), transcription_model="gpt-transcribe"
    )
    async with running(Options(speed=0, transcription_delay_s=0)) as sim:
        async with await dial(http, realtime_url(sim.base_url, "gpt-realtime-2.1"), "k") as upstream:
            assert upstream.session.model == "gpt-realtime-2.1"
            assert upstream.session.expires_at
            await upstream.send(encode(SessionUpdate(session)))
            await upstream.send(append_frame(bytes(4800)))
            await upstream.send(encode(ConversationItemCreate(user_text("Good morning."))))
            await upstream.send(encode(ResponseCreate()))
            async with asyncio.timeout(10):
                async for received in upstream:
                    events.append(received.event)
                    if isinstance(received.event, hear.ResponseDone):
                        break
        assert upstream.malformed == 0
    assert not [event for event in events if isinstance(event, hear.Unknown | hear.Error)]
    assert isinstance(events[0], hear.SessionUpdated)
    assert events[0].session.audio
    assert events[0].session.audio.input
    assert events[0].session.audio.input.turn_detection
    assert events[0].session.audio.input.turn_detection.silence_duration_ms == 500
    done = events[-1]
    assert isinstance(done, hear.ResponseDone)
    assert done.response.status == "completed"
    assert done.response.usage


@pytest.mark.parametrize(
    ("options", "code", "error_type"),
    [
        (Options(api_key="another"), "invalid_api_key", UpstreamRefused),
        (Options(models=frozenset({"another"})), "invalid_model", UpstreamRefused),
        (Options(reject_http=401), "http_401", UpstreamRefused),
        (Options(reject_http=503), "http_503", UpstreamUnavailable),
    ],
)
async def test_the_simulator_refuses(
    http: aiohttp.ClientSession, options: Options, code: str, error_type: type[UpstreamError]
) -> None:
    """In its own ways, which are those of the real one."""
    async with running(options) as sim:
        refused = await failure(http, realtime_url(sim.base_url, "m"))
    assert type(refused) is error_type
    assert refused.code == code
