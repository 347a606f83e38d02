"""The tutorial's TypeScript, as it stands on the page: the protocol part under Node.js, the screen by its syntax."""

from __future__ import annotations

import re
import time
from pathlib import Path

from redis.asyncio import Redis

from cli.token import mint
from runtime.embedded import EmbeddedServer
from simulator.options import Options
from tests.contract.doors.openai_stage import system, transcoding
from tests.contract.sdks import node
from tests.tutorials.stage import ROOT, network, run

SECRET = "a-secret-of-" * 4


async def test_the_app(redis_server: EmbeddedServer, redis: Redis, tmp_path: Path) -> None:
    """A whole M4A is said; the line breaks while the answer comes; the redial brings it, whole."""
    node.install()
    async with (
        system(redis_server, Options(speed=20.0), secret=SECRET) as parley,
        transcoding(redis_server.url, files=True),
        network(parley.urls[0], cut_at=100_000) as line,
    ):
        answered, states = await run(
            "node",
            ROOT / "tests" / "tutorials" / "react_native.mjs",
            tmp_path,
            line.url.replace("http", "ws"),
            mint(SECRET, "ann", "phone", time.time(), 60.0),
            ROOT / "cli" / "media" / "hello.m4a",
        )
        assert len(parley.simulator.sessions) == 1
    match = re.fullmatch(r"answered (\d+) I heard [\d.]+ seconds \((\d+) samples\)\.", answered)
    assert match is not None, answered
    assert int(match[1]) == 44 + 2 * int(match[2])
    assert states == "states up waiting up"
