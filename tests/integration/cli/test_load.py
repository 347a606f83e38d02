"""`parley load` against a server that runs, as it is typed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from cli.load.measure import Measured
from runtime.embedded import EmbeddedServer
from simulator.answers import Echo
from simulator.options import Options
from tests.contract.doors.openai_stage import LIMIT_S, system


async def load(*arguments: str) -> tuple[int, str]:
    """Its exit code, and all that it says."""
    command = (sys.executable, "-m", "cli", "load", *arguments)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_a_run_measures_and_writes_what_it_found(redis: Redis, redis_server: EmbeddedServer, tmp_path: Path) -> None:
    """Two doors, a ramp, answers that are interrupted; what gateways say of themselves; a table, JSON and a page."""
    figures, plots = tmp_path / "load.json", tmp_path / "load.html"
    async with system(redis_server, Options(answer=Echo(), speed=2, transcription_delay_s=0)) as parley:
        code, said = await load(
            *("--url", parley.urls[0], "--client", "openai", "--client", "mobile", "--sessions", "3", "--seconds", "2.5"),
            *("--ramp", "0.5", "--think", "0.2", "--interrupt", "0.5", "--json", str(figures), "--html", str(plots)),
        )
    assert code == 0, said
    result = msgspec.json.decode(figures.read_bytes(), type=Measured)
    assert {each.client: each.sessions for each in result.classes} == {"openai": 2, "mobile": 1}
    assert all(each.turns > 0 for each in result.classes)
    assert result.latency_ms["p50"] > 0
    assert result.cpu_ms["gateway"] > 0
    assert "<svg" in plots.read_text()
    assert "openai" in said
    assert "gateway" in said
