"""OpenAI's own Python SDKs, unmodified, with only their URL and key changed: speech, text, tools, interruption, a redial."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from simulator.answers import Call, tone
from simulator.orders import silence, speech
from tests.contract.doors.openai_stage import LIMIT_S, System
from tests.contract.sdks.conftest import Prompted
from tests.contract.sdks.wire import Tap, judge

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALL = (Call("weather", '{"city":"Bonn"}'),)
LONG = (tone(440, 100).speech,)
"""Five seconds, as it is sent: there is time to interrupt it."""


async def until(connection: AsyncRealtimeConnection, kind: str) -> list[Any]:
    """All events up to and with the one of this type."""
    events = []
    async with asyncio.timeout(LIMIT_S):
        async for event in connection:
            assert event.type != "error", event
            events.append(event)
            if event.type == kind:
                return events
    raise AssertionError(f"no {kind} has come")


async def say(connection: AsyncRealtimeConnection, text: str) -> None:
    content: Any = [{"type": "input_text", "text": text}]
    await connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})


async def test_openai(parley: System, tap: Tap, prompted: Prompted) -> None:
    """`openai`: text, speech, a tool, an interruption, and a redial that resumes."""
    async with (
        AsyncOpenAI(api_key="sk-any", base_url=tap.url) as client,
        client.realtime.connect(model="gpt-realtime", on_reconnecting=lambda _: {"extra_query": named}) as connection,
    ):
        created = (await until(connection, "session.created"))[-1]
        named = {"session": created.session.id, "model": "gpt-realtime"}

        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await say(connection, "Good morning.")
        await connection.response.create()
        text = [
            event.text for event in await until(connection, "response.done") if event.type == "response.output_text.done"
        ]
        assert len(text) == 1
        assert text[0]

        push_to_talk: Any = {"input": {"turn_detection": None}}
        await connection.session.update(
            session={"type": "realtime", "output_modalities": ["audio"], "audio": push_to_talk, "tools": [WEATHER]}
        )
        await connection.input_audio_buffer.append(audio=speech(0.5))
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        events = await until(connection, "response.done")
        heard = b"".join(base64.b64decode(event.delta) for event in events if event.type == "response.output_audio.delta")
        assert heard == base64.b64decode(speech(0.5))

        prompted.next.append(CALL)
        await say(connection, "What is the weather in Bonn?")
        await connection.response.create()
        call = (await until(connection, "response.done"))[-1].response.output[0]
        assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "weather", {"city": "Bonn"})
        output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": '{"sky":"clear"}'}
        await connection.conversation.item.create(item=output)
        await connection.response.create()
        assert (await until(connection, "response.done"))[-1].response.output[0].type == "message"

        await interrupted(connection, prompted)

        tap.cut()
        events = await until(connection, "session.created")
        assert events[-1].session.id == created.session.id
        await say(connection, "Where were we?")
        await connection.response.create()
        await until(connection, "response.done")
    assert len(parley.simulator.sessions) == 1, "the model's session has gone on"
    judge(tap)


async def interrupted(connection: AsyncRealtimeConnection, prompted: Prompted) -> None:
    """The user speaks while a long answer is generated."""
    await connection.session.update(
        session={"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad"}}}}
    )
    await until(connection, "session.updated")
    prompted.next.append(LONG)
    await connection.response.create()
    item = (await until(connection, "response.output_audio.delta"))[-1].item_id
    await connection.input_audio_buffer.append(audio=speech(0.4))
    await until(connection, "input_audio_buffer.speech_started")
    await connection.conversation.item.truncate(item_id=item, content_index=0, audio_end_ms=120)
    events = await until(connection, "conversation.item.truncated")
    if not [event for event in events if event.type == "response.done"]:
        events += await until(connection, "response.done")
    cancelled = next(event for event in events if event.type == "response.done")
    assert (cancelled.response.status, cancelled.response.status_details.reason) == ("cancelled", "turn_detected")
    await connection.input_audio_buffer.append(audio=silence(0.8))
    await until(connection, "response.done")


@function_tool
async def weather(city: str) -> str:
    """The weather in a city."""
    return f"clear in {city}"


async def agent_events(session: RealtimeSession, kind: str) -> list[Any]:
    """All that the session tells up to and with this."""
    events = []
    async with asyncio.timeout(LIMIT_S):
        async for event in session:
            assert event.type != "error", event
            events.append(event)
            if event.type == kind:
                return events
    raise AssertionError(f"no {kind} has come")


@pytest.mark.parametrize("resumes", [False, True], ids=["whole", "resumed"])
async def test_openai_agents(
    parley: System, tap: Tap, prompted: Prompted, monkeypatch: pytest.MonkeyPatch, resumes: bool
) -> None:
    """`openai-agents`: an agent with a tool, spoken to, typed to and interrupted; or taken up by another process."""
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
    agent = RealtimeAgent(name="Ann", instructions="Be brief.", tools=[weather])
    settings: Any = {"turn_detection": {"type": "server_vad", "interrupt_response": True}}
    runner = RealtimeRunner(agent)
    config: Any = {
        "url": f"{tap.url.replace('http', 'ws', 1)}/realtime?model=gpt-realtime",
        "api_key": "sk-any",
        "initial_model_settings": settings,
    }
    async with await runner.run(model_config=config) as session:
        prompted.next.append(CALL)
        await session.send_message("What is the weather in Bonn?")
        events = await agent_events(session, "tool_end")
        assert events[-1].output == "clear in Bonn"
        assert [event for event in await agent_events(session, "audio_end") if event.type == "audio"]
        await agent_events(session, "agent_end")
        if resumes:
            named = tap.events("down", "session.created")[0]["session"]["id"]
            tap.cut()
        else:
            await interrupt_agent(session, prompted)
    if resumes:
        config["url"] += f"&session={named}"
        async with await runner.run(model_config=config) as session:
            await session.send_message("Where were we?")
            await agent_events(session, "audio_end")
        assert tap.events("down", "session.created")[1]["session"]["id"] == named
        assert len(parley.simulator.sessions) == 1
    else:
        assert tap.events("up", "conversation.item.truncate"), "it says how much was heard"
        assert tap.events("down", "conversation.item.truncated")
    judge(tap)


async def interrupt_agent(session: RealtimeSession, prompted: Prompted) -> None:
    prompted.next.append(LONG)
    await session.send_message("Tell me a long story.")
    await agent_events(session, "audio")
    await session.send_audio(base64.b64decode(speech(0.4)))
    await agent_events(session, "audio_interrupted")
    await session.send_audio(base64.b64decode(silence(0.8)))
    await agent_events(session, "agent_start")
    await agent_events(session, "audio_end")
