"""Processes that die while a function runs: the backend is called again under the same id, and its answer is spoken once."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest
from aiohttp import web

from runtime.embedded import EmbeddedServer
from simulator.answers import Call, CallFirst, Retell
from simulator.options import Options
from tests.acceptance.conftest import open_simulator
from tests.acceptance.fleet import fleet
from tests.acceptance.phone import calling
from tests.integration.realtime_bridge.backend import SECRET, Posted, backend

PERSONAS = {
    "default": "sun",
    "personas": {
        "sun": {
            "instructions": "Be warm.",
            "voice": "marin",
            "tools": [{"name": "weather", "description": "The weather."}],
        }
    },
}


@pytest.mark.timeout(120)
async def test_a_bridge_is_killed_while_a_function_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kill -9: whoever takes over finds the call in `turns`, and makes it again. The phone hears one answer."""

    async def answer(posted: Posted) -> web.StreamResponse:
        if posted.nth == 1:
            await asyncio.sleep(60)
        return web.json_response({"degrees": 11})

    path = tmp_path / "personas.json"
    path.write_text(json.dumps(PERSONAS))
    options = Options(
        speed=20.0, transcription_delay_s=0.0, answer=CallFirst((Call("weather", '{"city":"Bonn"}'),), Retell())
    )
    async with backend(answer) as app:
        monkeypatch.setenv("PARLEY_PERSONAS", str(path))
        monkeypatch.setenv("PARLEY_TOOLS_URL", app.url)
        monkeypatch.setenv("PARLEY_TOOLS_SECRET", SECRET)
        monkeypatch.setenv("PARLEY_TOOLS_TIMEOUT_S", "60")
        with (
            EmbeddedServer() as redis,
            open_simulator(options) as simulator,
            fleet(redis.url, simulator.base_url, ("gateway", "realtime_bridge", "realtime_bridge")) as ships,
        ):
            async with calling(ships.of("gateway")[0].url, "ann", "?input_format=pcm16") as phone:
                await phone.send(bytes(48_000))
                await app.until_posted(1)
                bridge = ships.bridge_of(app.posted[0].call["session"])
                assert bridge is not None
                bridge.send(signal.SIGKILL)
                heard = await phone.answer()
            assert (heard.text, heard.errors) == ('I was told {"degrees": 11}.', [])
            assert heard.audio
            first, second = app.posted
            assert first.headers["webhook-id"] == second.headers["webhook-id"]
            assert second.is_signed
            model = simulator.sessions[-1]
            kinds = [item.type for item in model.conversation.items]
            assert kinds == ["message", "function_call", "function_call_output", "message"]
