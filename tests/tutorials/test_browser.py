"""The tutorial's page in a real Chromium, from another origin: it talks, hears, is interrupted, and loses its line."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

from aiohttp import ClientSession, web
from redis.asyncio import Redis

from cli.token import mint
from runtime.embedded import EmbeddedServer
from simulator.options import Options
from tests.browser.stage import MICROPHONE_RATE, chromium, load, silence, visit, write_wav
from tests.contract.doors.openai_stage import system, transcoding
from tests.tutorials.stage import TUTORIALS, network

SECRET = "a-secret-of-" * 4

ANSWERS = "(count) => document.getElementById('words').textContent.split('I heard').length > count"
"""At least so many were shown."""


@asynccontextmanager
async def app_server(token: str) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """The app's own: it has the page, and gives it client secrets; its address, and where it finds Parley."""
    parley: dict[str, str] = {}

    async def key(request: web.Request) -> web.Response:
        if parley.pop("fails", None):
            raise web.HTTPServiceUnavailable
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{parley['url']}/v1/realtime/client_secrets"
        async with ClientSession() as http, http.post(url, headers=headers, json={}) as answer:
            return web.Response(text=(await answer.json())["value"])

    app = web.Application()
    app.router.add_get("/key", key)
    app.router.add_static("/", TUTORIALS / "browser")
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", parley
    finally:
        await runner.cleanup()


async def test_the_page(redis_server: EmbeddedServer, redis: Redis, chromium_path: str, tmp_path: Path) -> None:
    """Turn by turn, each of which interrupts the answer to the one before; the line breaks behind the second."""
    spoken = load("speech_espeak.flac", MICROPHONE_RATE)[: round(0.5 * MICROPHONE_RATE)]
    microphone = write_wav(tmp_path / "microphone.wav", silence(0.3), *(20 * [spoken, silence(0.7)]))
    token = mint(SECRET, "ann", "app", time.time(), 60.0)
    async with (
        app_server(token) as (url, app),
        system(redis_server, Options(), secret=SECRET, origins=url) as parley,
        transcoding(redis_server.url),
        network(parley.urls[0]) as line,
        chromium(chromium_path, microphone) as browser,
        visit(browser, f"{url}/index.html?{urlencode({'server': line.url, 'keys': '/key'})}") as page,
    ):
        app["url"] = line.url
        await page.page.click("#talk")
        await page.until(ANSWERS, 2)
        app["fails"] = "once"
        line.cut()
        await page.until("() => document.getElementById('state').textContent === 'connected again'")
        before = await page.page.locator("#words").inner_text()
        await page.until(ANSWERS, before.count("I heard") + 1)
        (session,) = parley.simulator.sessions
        kinds = {event["type"] for event in session.recording.client_events}
    assert kinds & {"conversation.item.truncate", "conversation.item.delete"}, "the model knows that it was interrupted"


async def test_the_page_says_where_to_look(
    redis_server: EmbeddedServer, redis: Redis, chromium_path: str, tmp_path: Path
) -> None:
    """When its origin is not on the list, of which a browser is told nothing."""
    microphone = write_wav(tmp_path / "microphone.wav", silence(1.0))
    async with (
        app_server("") as (url, _),
        system(redis_server, Options()) as parley,
        chromium(chromium_path, microphone) as browser,
        visit(browser, f"{url}/index.html?{urlencode({'server': parley.urls[0]})}") as page,
    ):
        await page.page.click("#talk")
        hint = f"no answer from {parley.urls[0]}: does it run, and does its PARLEY_ORIGINS name {url}?"
        await page.until(f"() => document.getElementById('state').textContent === {json.dumps(hint)}")
