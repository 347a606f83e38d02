"""A session whose model calls functions, and what a test looks at."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from realtime_bridge.personas import Personas
from realtime_bridge.session_bridge import Resources, SessionBridge
from realtime_bridge.settings import BridgeSettings
from realtime_bridge.tool_calls import Webhook
from runtime.logs import SessionLogger
from simulator.answers import Call as Calls
from simulator.answers import CallFirst, Retell
from simulator.options import Options
from simulator.server import Running
from simulator.session import Session as Model
from streams import down, turns
from streams.consumer import read
from streams.dispatch import Assignment
from streams.hub import Hub
from streams.ids import EntryId
from streams.sessions import Sessions
from tests.integration.realtime_bridge.backend import SECRET, Backend, Posted
from tests.integration.realtime_bridge.test_session_bridge import FAST, Call

WEATHER = Calls("weather", '{"city": "Bonn"}')
TIME = Calls("time", "{}")

PERSONAS = """{"default": "sun", "personas": {"sun": {
    "instructions": "Be warm.", "voice": "marin", "tools": [
        {"name": "weather", "description": "The weather of a city."},
        {"name": "time", "description": "What time it is."}]}}}"""


LOG = SessionLogger(logging.getLogger(__name__), "s1")


def webhook_to(app: Backend, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> Webhook:
    """A process's, whose calls go to that backend."""
    env = {"OPENAI_API_KEY": "k", "PARLEY_TOOLS_URL": app.url, "PARLEY_TOOLS_SECRET": SECRET}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return Webhook.of(http, Personas.parse(PERSONAS), BridgeSettings.load())


def calling(*calls: Calls, **options: Any) -> Options:
    """A simulator that calls these, and says word for word what it is told."""
    before = options.pop("before", None)
    return replace(FAST, answer=CallFirst(calls, Retell(), before), **options)


async def fine(posted: Posted) -> web.StreamResponse:
    return web.json_response({"degrees": 11})


async def slow(posted: Posted) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.json_response({})


@asynccontextmanager
async def bridged(
    hub: Hub,
    simulator: Running,
    to: Backend,
    monkeypatch: pytest.MonkeyPatch,
    opened: turns.Opened | None = None,
    settings: dict[str, str] | None = None,
) -> AsyncIterator[Call]:
    """A session with a bridge on it, whose functions are in that backend."""
    env = {"OPENAI_BASE_URL": simulator.base_url, "OPENAI_API_KEY": "k", "PARLEY_TOOLS_URL": to.url}
    for name, value in (env | {"PARLEY_TOOLS_SECRET": SECRET} | (settings or {})).items():
        monkeypatch.setenv(name, value)
    opened = opened or turns.Opened(user="ann", door="mobile", turn_mode="utterance")
    session = (await Sessions(hub.redis).create(opened, "ann")).session
    async with aiohttp.ClientSession() as http:
        resources = Resources(BridgeSettings.load(), Personas.parse(PERSONAS), hub, http, "test:1")
        bridge = SessionBridge(Assignment(EntryId(1, 1), session), resources)
        task = asyncio.create_task(bridge.run())
        try:
            yield Call(hub, session, bridge)
        finally:
            bridge.end("the test is over")
            await asyncio.wait_for(task, 10)


def said(told: list[down.DownMessage]) -> list[str]:
    """What the model said, in words."""
    kind = "response.output_audio_transcript.done"
    events = [each for each in told if isinstance(each, down.ServerEvent) and each.type == kind]
    return [msgspec.json.decode(event.body)["transcript"] for event in events]


def says(part: str) -> Callable[[down.DownMessage], bool]:
    """Whether the model says something with these words in it."""
    return lambda message: any(part in words for words in said([message]))


def event(kind: str) -> Callable[[down.DownMessage], bool]:
    """Whether it is this event of the model's."""
    return lambda message: isinstance(message, down.ServerEvent) and message.type == kind


def items(model: Model, kind: str) -> list[Any]:
    return [item.body for item in model.conversation.items if item.type == kind]


def offered(model: Model) -> list[Any]:
    tools: Any = model.config.wire["tools"]
    return [tool["name"] for tool in tools]


def asked(model: Model, kind: str) -> int:
    return sum(event["type"] == kind for event in model.recording.client_events)


async def recorded(call: Call, kind: type[turns.TurnsMessage]) -> list[Any]:
    entries = await read(call.hub.redis, call.session.keys.turns, turns.decoder)
    return [entry.message for entry in entries if isinstance(entry.message, kind)]
