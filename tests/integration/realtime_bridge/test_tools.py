"""The model calls functions of the app's own backend: a real web server, a real Redis, a real bridge, the simulator."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from aiohttp import web

from realtime_bridge.session_bridge import SessionBridge
from simulator import voice
from simulator.answers import Call as Calls
from simulator.answers import Speech
from simulator.faults import Fault
from simulator.server import running
from streams import down, pcm, turns
from streams.dispatch import Assignment
from streams.hub import Hub
from streams.ids import EntryId
from streams.messages import ClientEvent, End
from streams.sessions import Sessions
from tests.integration.realtime_bridge.backend import Posted, backend
from tests.integration.realtime_bridge.test_session_bridge import over
from tests.integration.realtime_bridge.tools_stage import (
    TIME,
    WEATHER,
    asked,
    bridged,
    calling,
    event,
    fine,
    items,
    offered,
    recorded,
    said,
    says,
    slow,
)


async def test_a_function_is_called_and_its_answer_spoken_about(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is signed and says whose it is; the output reaches the model, which is asked once to go on."""
    async with (
        backend(fine) as app,
        running(calling(WEATHER)) as simulator,
        bridged(hub, simulator, app, monkeypatch) as call,
    ):
        await call.says(bytes(48_000))
        await call.until(says('I was told {"degrees": 11}.'))
        (model,) = simulator.sessions
        (posted,) = app.posted
        assert posted.is_signed
        (call_id,) = (item["call_id"] for item in items(model, "function_call"))
        assert posted.headers["webhook-id"] == f"tool_{call.session.sid}_{call_id}"
        assert posted.call == {
            "call_id": call_id,
            "name": "weather",
            "arguments": {"city": "Bonn"},
            "session": call.session.sid,
            "user": "ann",
            "persona": "sun",
        }
        assert offered(model) == ["weather", "time"]
        assert asked(model, "response.create") == 2, "the user's turn, and the outputs"
        (called,) = await recorded(call, turns.ToolCalled)
        assert (called.call_id, called.name, called.by_client) == (call_id, "weather", False)
        assert await recorded(call, turns.ToolAnswered) == [turns.ToolAnswered(call_id, '{"degrees": 11}')]


async def test_calls_of_one_response_are_made_at_once_and_answered_together(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sentence and two calls: one output each, one `response.create` for both, though one comes later."""
    both_there = asyncio.Event()

    async def answer(posted: Posted) -> web.StreamResponse:
        if posted.nth == 2:
            both_there.set()
        await both_there.wait()
        if posted.call["name"] == "time":
            await asyncio.sleep(0.2)
        return web.json_response(posted.call["name"])

    options = calling(WEATHER, TIME, before=Speech("Let me see."))
    async with backend(answer) as app, running(options) as simulator, bridged(hub, simulator, app, monkeypatch) as call:
        await call.says(bytes(48_000))
        told = await call.until(says("I was told"))
        assert said(told) == ["Let me see.", 'I was told "weather" and "time".']
        (model,) = simulator.sessions
        assert len(items(model, "function_call_output")) == 2
        assert asked(model, "response.create") == 2
        assert asked(model, "conversation.item.create") == 2


@pytest.mark.parametrize(
    ("calls", "code"), [(Calls("dance", "{}"), "unknown_function"), (Calls("time", '{"a": '), "invalid_arguments")]
)
async def test_a_call_that_makes_no_sense_goes_nowhere(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, calls: Calls, code: str
) -> None:
    """The model hears so, and the backend does not."""
    async with (
        backend(fine) as app,
        running(calling(calls)) as simulator,
        bridged(hub, simulator, app, monkeypatch) as call,
    ):
        await call.says(bytes(48_000))
        await call.until(says(f'"code":"{code}"'))
        assert app.posted == []


async def test_the_user_speaks_while_a_function_runs(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The VAD has the model answer by itself; when that is done the output is spoken about, with one `response.create`."""
    go_on = asyncio.Event()

    async def answer(posted: Posted) -> web.StreamResponse:
        await go_on.wait()
        return web.json_response({"degrees": 11})

    speech = voice.hello() + bytes(48 * 1_000)
    opened = turns.Opened(user="ann", door="ios", turn_mode="server_vad")
    async with (
        backend(answer) as app,
        running(calling(WEATHER)) as simulator,
        bridged(hub, simulator, app, monkeypatch, opened) as call,
    ):
        call.uplink.append(pcm.Audio(speech))
        await app.until_posted(1)
        call.uplink.append(pcm.Audio(speech))
        await call.until(says("I heard"))
        go_on.set()
        await call.until(says('I was told {"degrees": 11}.'))
        (model,) = simulator.sessions
        assert asked(model, "response.create") == 1
        assert len(app.posted) == 1


async def test_an_output_that_comes_while_the_vad_has_the_model_answer(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user speaks on while the output comes: the answer to the turn has it already, and nothing is said twice."""
    go_on = asyncio.Event()

    async def answer(posted: Posted) -> web.StreamResponse:
        await go_on.wait()
        return web.json_response({"degrees": 11})

    speech = voice.hello() + bytes(48 * 1_000)
    opened = turns.Opened(user="ann", door="ios", turn_mode="server_vad")
    async with (
        backend(answer) as app,
        running(calling(WEATHER)) as simulator,
        bridged(hub, simulator, app, monkeypatch, opened) as call,
    ):
        call.uplink.append(pcm.Audio(speech))
        await call.until(event("response.done"))
        (model,) = simulator.sessions
        call.uplink.append(pcm.Audio(voice.hello()))  # no end of it yet
        await call.until(event("input_audio_buffer.speech_started"))
        go_on.set()
        await call.until(lambda m: isinstance(m, down.ServerEvent) and b"function_call_output" in bytes(m.body))
        call.uplink.append(pcm.Audio(bytes(48 * 1_000)))
        told = await call.until(says("I was told"))
        assert said(told) == ['I was told {"degrees": 11}.']
        assert asked(model, "response.create") == 0
        call.uplink.append(End("client_left", after_answer=True))
        rest = await call.until(over)
        assert said(rest) == []


async def test_a_bridge_that_dies_between_call_and_answer(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one calls again under the same id, tells the model of call and output, and it is spoken about once."""

    async def answer(posted: Posted) -> web.StreamResponse:
        if posted.nth == 1:
            await asyncio.sleep(30)
        return web.json_response({"degrees": 11})

    async with (
        backend(answer) as app,
        running(calling(WEATHER)) as simulator,
        bridged(hub, simulator, app, monkeypatch) as call,
    ):
        await call.says(bytes(48_000))
        await app.until_posted(1)
        call.bridge.leave()
        async with asyncio.timeout(20):
            while await hub.redis.exists(call.session.keys.lease):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        heir = SessionBridge(Assignment(EntryId(1, 2), call.session), call.bridge._r)
        task = asyncio.create_task(heir.run())
        await call.until(says('I was told {"degrees": 11}.'))
        first, second = app.posted
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        async with asyncio.timeout(20):
            while not app.given_up:  # noqa: ASYNC110 - its server learns that the request was cancelled
                await asyncio.sleep(0.01)
        assert app.given_up == 1
        model = simulator.sessions[-1]
        assert len(simulator.sessions) == 2
        (made,), (told) = items(model, "function_call"), items(model, "function_call_output")
        assert [each["call_id"] for each in told] == [made["call_id"]]
        assert len(await recorded(call, turns.ToolAnswered)) == 1
        heir.end("over")
        assert await asyncio.wait_for(task, 10)


async def test_a_socket_that_breaks_between_call_and_answer(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request goes on; its answer is told to the model on the next socket, where it is spoken about once."""
    next_is_up = asyncio.Event()

    async def answer(posted: Posted) -> web.StreamResponse:
        await next_is_up.wait()
        return web.json_response({"degrees": 11})

    broken = (Fault.parse("reset@response.done:1"),)
    async with (
        backend(answer) as app,
        running(calling(WEATHER, faults=broken)) as simulator,
        bridged(hub, simulator, app, monkeypatch) as call,
    ):
        await call.says(bytes(48_000))
        before = await call.until(lambda message: isinstance(message, down.Resumed))
        assert said(before) == []
        next_is_up.set()
        told = await call.until(says("I was told"))
        assert said(told) == ['I was told {"degrees": 11}.']
        assert len(app.posted) == 1
        assert len(simulator.sessions) == 2
        assert len(await recorded(call, turns.ToolCalled)) == 1


async def test_what_was_called_and_answered_is_told_to_the_next_socket(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a pair, and nothing is owed for it any more."""
    async with (
        backend(fine) as app,
        running(calling(WEATHER)) as simulator,
        bridged(hub, simulator, app, monkeypatch) as call,
    ):
        await call.says(bytes(48_000))
        await call.until(says("I was told"))
        await call.until(event("response.done"))
        # What has not arrived nobody has heard: the next turn would interrupt it, and it would count as never said.
        await Sessions(hub.redis).set_cursor(call.session, "arrived", call.last)
        call.bridge.leave()
        async with asyncio.timeout(20):
            while await hub.redis.exists(call.session.keys.lease):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        heir = SessionBridge(Assignment(EntryId(1, 2), call.session), call.bridge._r)
        task = asyncio.create_task(heir.run())
        await call.says(bytes(48_000), arrived_ms=60_000)
        await call.until(says("I was told"))
        model = simulator.sessions[-1]
        kinds = [item.type for item in model.conversation.items]
        assert kinds[:4] == ["message", "function_call", "function_call_output", "message"]
        assert len(app.posted) == 2, "the second turn has called on its own"
        heir.end("over")
        assert await asyncio.wait_for(task, 10)


async def test_a_session_that_ends_lets_go_of_its_calls(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is cancelled; nobody waits for it."""
    async with (
        backend(slow) as app,
        running(calling(WEATHER)) as simulator,
        bridged(hub, simulator, app, monkeypatch, settings={"PARLEY_TOOLS_TIMEOUT_S": "60"}) as call,
    ):
        await call.says(bytes(48_000))
        await app.until_posted(1)
        call.uplink.append(End("client_left"))
        assert (await call.until(over))[-1] == down.Ended(reason="client_left")
        async with asyncio.timeout(20):
            while not app.given_up:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_a_goodbye_waits_for_the_answer_after_a_call(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client wants its answer first, and the function needs longer than a session's last pause."""

    async def answer(posted: Posted) -> web.StreamResponse:
        await asyncio.sleep(2.0)
        return web.json_response({"degrees": 11})

    async with (
        backend(answer) as app,
        running(calling(WEATHER)) as simulator,
        bridged(hub, simulator, app, monkeypatch) as call,
    ):
        await call.says(bytes(48_000))
        await app.until_posted(1)
        call.uplink.append(End("client_left", after_answer=True))
        assert said(await call.until(over)) == ['I was told {"degrees": 11}.']


async def test_a_client_runs_its_own_functions_beside_the_personas(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names decide. Both are declared to the model; the client's output and its wish to go on are its own."""
    opened = turns.Opened(user="ann", door="openai", turn_mode="server_vad")

    async with (
        backend(fine) as app,
        running(calling(WEATHER, Calls("paint", "{}"))) as simulator,
        bridged(hub, simulator, app, monkeypatch, opened) as call,
    ):

        async def asks(kind: str, **fields: object) -> None:
            call.uplink.append(ClientEvent(kind, msgspec.Raw(msgspec.json.encode({"type": kind, **fields}))))

        paint = {"type": "function", "name": "paint", "description": "Paint.", "parameters": {"type": "object"}}
        await asks("session.update", session={"type": "realtime", "tools": [paint], "output_modalities": ["text"]})
        await asks("response.create")
        done = (await call.until(event("response.done")))[-1]
        assert isinstance(done, down.ServerEvent)
        output = msgspec.json.decode(done.body)["response"]["output"]
        mine = next(item for item in output if item["name"] == "paint")
        theirs = next(item for item in output if item["name"] == "weather")
        for item, text in ((theirs, "not found"), (mine, "red")):
            item_told = {"type": "function_call_output", "call_id": item["call_id"], "output": text}
            await asks("conversation.item.create", item=item_told)
        await app.until_posted(1)
        (model,) = simulator.sessions
        async with asyncio.timeout(20):
            while len(items(model, "function_call_output")) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asks("response.create")
        written = (await call.until(event("response.output_text.done")))[-1]
        assert isinstance(written, down.ServerEvent)
        outputs = {item["call_id"]: item["output"] for item in items(model, "function_call_output")}
        assert outputs == {mine["call_id"]: "red", theirs["call_id"]: '{"degrees": 11}'}
        assert offered(model) == ["weather", "time", "paint"]
        assert asked(model, "response.create") == 2, "both the client's"
        assert {each.name: each.by_client for each in await recorded(call, turns.ToolCalled)} == {
            "weather": False,
            "paint": True,
        }


async def test_a_response_that_the_user_interrupts_calls_nothing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cancelled while it speaks in front of its call; only the answer to what the user said then calls."""
    options = calling(WEATHER, before=Speech("Let me see.", voice.hello()), speed=1.0)
    opened = turns.Opened(user="ann", door="ios", turn_mode="server_vad")
    async with (
        backend(fine) as app,
        running(options) as simulator,
        bridged(hub, simulator, app, monkeypatch, opened) as call,
    ):
        call.uplink.append(pcm.Audio(voice.hello() + bytes(48 * 1_000)))
        await call.until(lambda message: isinstance(message, down.Audio))
        call.uplink.append(pcm.Audio(voice.hello() + bytes(48 * 1_000)))
        await call.until(says("I was told"))
        first, second, *_ = await recorded(call, turns.Answered)
        (called,) = await recorded(call, turns.ToolCalled)
        assert called.response == second.response != first.response
        assert len(app.posted) == 1
