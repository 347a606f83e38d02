"""The mobile door's sibling for browsers, in other formats than PCM16 at 24 kHz."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator

import pytest
import websockets

from runtime.embedded import EmbeddedServer
from streams import down
from tests.contract.doors.coded_stage import LIMIT_S, SPEECH, assert_says, say, transcoding
from tests.contract.doors.stage import Stage

SAID = SPEECH[:48_000]
"""A second: it comes at the pace at which it is played."""


@pytest.fixture(autouse=True)
async def transcoder(redis_server: EmbeddedServer, stage: Stage) -> AsyncIterator[None]:
    async with transcoding(redis_server):
        yield


async def told(stage: Stage, query: str) -> list[dict[str, str]]:
    """All that a page is told of one answer, and of a session that ends behind it."""
    heard: list[dict[str, str]] = []
    async with (
        asyncio.timeout(LIMIT_S),
        websockets.connect(f"{stage.url.replace('http', 'ws')}/ws/ann{query}") as page,
    ):
        bridge = await stage.bridge(await stage.session("ann", "ws/ann"))
        await say(bridge, SAID, "1")
        await bridge.say(down.Ended("done"))
        async for text in page:
            heard.append(json.loads(text))  # noqa: PERF401 - an asynchronous comprehension hides the close
        assert page.close_code == 1000
    return heard


def joined(heard: list[dict[str, str]]) -> bytes:
    return b"".join(base64.b64decode(one["audio"], validate=True) for one in heard if one["type"] == "audio_response")


@pytest.mark.parametrize(
    ("query", "audio_format", "rate", "mime_type"),
    [
        ("", "pcm16", 24_000, "audio/pcm"),
        ("?audio_format=opus&frame_ms=40", "opus", 24_000, "audio/ogg"),
        ("?audio_format=aac&bitrate=48000", "aac", 24_000, "audio/aac"),
        ("?output_rate=48000", "pcm16", 48_000, "audio/pcm;rate=48000"),
    ],
)
async def test_a_page_hears_it_as_it_was_asked_for(
    stage: Stage, query: str, audio_format: str, rate: int, mime_type: str
) -> None:
    """And is told what it is."""
    heard = await told(stage, query)
    assert {(one["type"], one["mime_type"]) for one in heard} == {("audio_response", mime_type)}
    assert_says(joined(heard), audio_format, rate, SAID)


async def test_what_cannot_be_had_is_told(stage: Stage) -> None:
    """The rest holds."""
    error, *heard = await told(stage, "?audio_format=wav&bitrate=9")
    also, *heard = heard
    assert (error["type"], also["type"]) == ("error", "error")
    assert "audio_format" in error["message"]
    assert "bitrate" in also["message"]
    assert joined(heard) == SAID
