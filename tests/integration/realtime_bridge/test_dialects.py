"""A conversation in each dialect, and with a server that leaves out what it may."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import pytest

from realtime_bridge.settings import BridgeSettings
from simulator.dialect import Dialect
from simulator.faults import Fault
from simulator.options import Options
from simulator.server import running
from streams import down
from streams.hub import Hub
from tests.integration.realtime_bridge.stage import REST, Call, EchoAndRest, bridged, silence, speech

AT_ONCE = Options(answer=EchoAndRest(), speed=0.0, transcription_delay_s=0.0, api_key="k")


def _has_heard(answers: int, call: Call) -> bool:
    return call.completed >= answers


@pytest.fixture
def _azure_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime_bridge.dialects.AZURE_HOSTS", ("localhost",))


PREVIEW = "http://localhost:{port}/openai?api-version=2025-04-01-preview"
CASES: list[tuple[Dialect, str, str, bool]] = [
    ("ga", "http://localhost:{port}/v1", "auto", False),
    ("ga", "http://localhost:{port}/v1", "ga", True),
    ("beta", "http://127.0.0.1:{port}/v1", "auto", True),
    ("beta", "http://127.0.0.1:{port}/v1", "beta", False),
    ("azure", "http://localhost:{port}", "auto", True),
    ("azure", "http://localhost:{port}/openai/v1", "auto", False),
    ("azure-preview", PREVIEW, "auto", False),
    ("azure-preview", PREVIEW, "auto", True),
]
"""Dialect, address, setting, and whether the server leaves out what it may."""


@pytest.mark.usefixtures("_azure_is_here")
@pytest.mark.parametrize(
    ("dialect", "address", "setting", "sparse"), CASES, ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)]
)
async def test_a_conversation(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, dialect: Dialect, address: str, setting: str, sparse: bool
) -> None:
    """Two turns, a break in the middle of the second, and the rest of it: the same in all."""
    if dialect == "ga":
        monkeypatch.setattr("realtime_bridge.dialects.AZURE_HOSTS", ())
    fault = Fault("close", 9, 1011, event="response.output_audio.delta")
    options = replace(AT_ONCE, dialect=dialect, sparse=sparse, faults=(fault,))
    call = await talk(hub, monkeypatch, options, address, setting)
    assert call.statuses == ["completed", "incomplete", "completed"]
    assert call.failures == []
    assert call.heard.count(speech(0)) == 1
    assert call.heard.endswith(REST)


async def talk(hub: Hub, monkeypatch: pytest.MonkeyPatch, options: Options, address: str, setting: str) -> Call:
    async with running(options) as simulator:
        port = simulator.base_url.rpartition(":")[2].partition("/")[0]
        monkeypatch.setenv("OPENAI_BASE_URL", address.format(port=port))
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        monkeypatch.setenv("PARLEY_DIALECT", setting)
        async with bridged(hub, BridgeSettings.load()) as call:
            for turn in range(2):
                call.says(silence(400) + speech(turn) + silence(800))
                await call.until(partial(_has_heard, turn + 1))
                await asyncio.sleep(1.3)
        assert not any(session.recording.refused for session in simulator.sessions), list(
            simulator.sessions[-1].recording.refused
        )
        transcribed = [m for m in call.told if isinstance(m, down.ServerEvent) and "transcription.completed" in m.type]
        assert transcribed
        assert all(
            "response.audio" not in m.type and m.type != "conversation.item.created"
            for m in call.told
            if isinstance(m, down.ServerEvent)
        )
        return call


@pytest.mark.usefixtures("_azure_is_here")
async def test_azure_refuses_before_the_upgrade(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong key is a 401: no retry, and a sentence that says what to look at."""
    async with running(replace(AT_ONCE, dialect="azure", api_key="right")) as simulator:
        port = simulator.base_url.rpartition(":")[2].partition("/")[0]
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://localhost:{port}")
        monkeypatch.setenv("OPENAI_API_KEY", "wrong")
        async with bridged(hub, BridgeSettings.load()) as call:
            await call.until(lambda call: down.Ended(reason="http_401") in call.told)
            assert call.failures == ["http_401"]
        assert len(simulator.sessions) == 0
