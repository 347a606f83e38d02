"""A bridge dies between `turns` and `down`: a function that the client is to run is run once."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec
import pytest

from realtime_bridge.personas import Personas
from realtime_bridge.session_bridge import Resources, SessionBridge
from realtime_bridge.settings import BridgeSettings
from simulator.server import running
from streams import down, turns
from streams.consumer import read
from streams.dispatch import Assignment
from streams.hub import Hub
from streams.ids import EntryId
from streams.messages import ClientEvent
from streams.producer import Chained, Marked, Producer
from streams.sessions import Session, Sessions
from tests.integration.realtime_bridge.tools_stage import WEATHER, asked, calling, items
from tests.reigns import reign


async def test_a_function_of_the_clients_that_only_turns_knows_of(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bridge died between the two streams: the next one tells the client of the call, and the model of its output."""
    options = calling(WEATHER)
    opened = turns.Opened(user="ann", door="openai", turn_mode="server_vad")
    session = (await Sessions(hub.redis).create(opened, "ann")).session
    epoch = await reign(hub, session, "killed:1")
    noted = Producer(hub.writer, session.keys.turns, Chained(epoch))
    noted.append(turns.Begun("resp_1", "0-0", 0))
    noted.append(turns.ToolCalled("resp_1", "item_1", "call_1", "paint", '{"it": "red"}', by_client=True))
    await noted.append(turns.Answered("resp_1", "0-0", 0))
    begins = msgspec.json.encode({"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}})
    await Producer(hub.writer, session.keys.down, Chained(epoch)).append(
        down.ServerEvent("response.created", msgspec.Raw(begins))
    )
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    async with running(options) as simulator, aiohttp.ClientSession() as http:
        monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)
        bridge = SessionBridge(
            Assignment(EntryId(1, 1), session), Resources(BridgeSettings.load(), Personas.load(None), hub, http, "test:2")
        )
        task = asyncio.create_task(bridge.run())
        async with asyncio.timeout(20):
            while (events := await events_of(hub, session))[-1]["type"] != "response.done":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        (call,) = events[-1]["response"]["output"]
        assert (call["type"], call["call_id"], call["arguments"]) == ("function_call", "call_1", '{"it": "red"}')
        told = ["response.function_call_arguments.done", "response.output_item.done", "response.done"]
        assert [each["type"] for each in events][-3:] == told
        uplink = Producer(hub.writer, session.keys.pcm, Marked("client"))
        output = {"type": "function_call_output", "call_id": "call_1", "output": "painted"}
        body = msgspec.Raw(msgspec.json.encode({"type": "conversation.item.create", "item": output}))
        uplink.append(ClientEvent("conversation.item.create", body))
        await uplink.append(ClientEvent("response.create", msgspec.Raw(b'{"type":"response.create"}')))
        async with asyncio.timeout(20):
            while (events := await events_of(hub, session))[-1].get("response", {}).get("id") == "resp_1":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        (model,) = simulator.sessions
        assert [item["call_id"] for item in items(model, "function_call")] == ["call_1"]
        assert [item["output"] for item in items(model, "function_call_output")] == ["painted"]
        bridge.end("over")
        assert await asyncio.wait_for(task, 10)


async def events_of(hub: Hub, session: Session) -> list[dict[str, Any]]:
    """The model's, about responses, as the client is told of them."""
    entries = await read(hub.redis, session.keys.down, down.decoder)
    told = [entry.message for entry in entries if isinstance(entry.message, down.ServerEvent)]
    return [msgspec.json.decode(each.body) for each in told if each.type.startswith("response.")]


async def test_a_function_of_the_clients_that_only_down_knows_of(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bridge died between the two streams: the client, which was told of the call, runs it once, and its output counts."""
    opened = turns.Opened(user="ann", door="openai", turn_mode="server_vad")
    session = (await Sessions(hub.redis).create(opened, "ann")).session
    epoch = await reign(hub, session, "killed:1")
    await Producer(hub.writer, session.keys.turns, Chained(epoch)).append(turns.Begun("resp_1", "0-0", 0))
    call = {"id": "item_1", "type": "function_call", "call_id": "call_1", "name": "paint", "arguments": '{"it": "red"}'}
    of_response = {"id": "resp_1", "status": "completed", "conversation_id": "conv_1", "output": [call]}
    ends = msgspec.json.encode({"type": "response.done", "response": of_response})
    await Producer(hub.writer, session.keys.down, Chained(epoch)).append(
        down.ServerEvent("response.done", msgspec.Raw(ends))
    )
    uplink = Producer(hub.writer, session.keys.pcm, Marked("client"))
    output = {"type": "function_call_output", "call_id": "call_1", "output": "painted"}
    body = msgspec.Raw(msgspec.json.encode({"type": "conversation.item.create", "item": output}))
    await uplink.append(ClientEvent("conversation.item.create", body))
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    async with running(calling(WEATHER)) as simulator, aiohttp.ClientSession() as http:
        monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)
        bridge = SessionBridge(
            Assignment(EntryId(1, 1), session), Resources(BridgeSettings.load(), Personas.load(None), hub, http, "test:2")
        )
        task = asyncio.create_task(bridge.run())
        async with asyncio.timeout(20):
            while not simulator.sessions or not items(simulator.sessions[0], "function_call_output"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        (model,) = simulator.sessions
        assert [item["call_id"] for item in items(model, "function_call")] == ["call_1"]
        assert [item["output"] for item in items(model, "function_call_output")] == ["painted"]
        assert not asked(model, "response.create")
        bridge.end("over")
        assert await asyncio.wait_for(task, 10)
