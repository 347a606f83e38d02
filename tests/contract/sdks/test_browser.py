"""`@openai/agents` in a page: with a client secret that the app's server has minted, over a WebSocket without headers."""

from __future__ import annotations

import time

import pytest
from openai import AsyncOpenAI
from redis.asyncio import Redis

from cli.token import mint
from runtime.embedded import EmbeddedServer
from simulator.answers import Call, words
from simulator.options import Options
from tests.browser.browsers import HOW, find_chromium
from tests.browser.stage import chromium
from tests.contract.doors.openai_stage import system
from tests.contract.sdks import node
from tests.contract.sdks.conftest import Prompted
from tests.contract.sdks.wire import judge, tapping

BUNDLE = node.HERE / "node_modules/@openai/agents-realtime/dist/bundle/openai-realtime-agents.umd.js"
SECRET = "a-secret-of-" * 4

TALK = """
async ({ url, apiKey }) => {
  const { RealtimeAgent, RealtimeSession, tool } = OpenAIAgentsRealtime;
  const asked = [];
  const weather = tool({
    name: "weather",
    description: "The weather in a city.",
    strict: true,
    parameters: {
      type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false,
    },
    execute: async ({ city }) => (asked.push(city), `clear in ${city}`),
  });
  const session = new RealtimeSession(new RealtimeAgent({ name: "Ann", tools: [weather] }), { transport: "websocket" });
  const failed = new Promise((_, reject) => session.on("error", ({ error }) => reject(new Error(JSON.stringify(error)))));
  const stopped = new Promise((resolve) => session.on("audio_stopped", resolve));
  await session.connect({ apiKey, url });
  session.sendMessage("What is the weather in Bonn?");
  await Promise.race([stopped, failed]);
  session.close();
  return asked;
}
"""


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    node.install()


@pytest.mark.usefixtures("redis")
async def test_openai_agents_in_a_page(redis_server: EmbeddedServer, redis: Redis, prompted: Prompted) -> None:
    prompted.next.extend(((Call("weather", '{"city":"Bonn"}'),), (words("Hello.").speech,)))
    path = find_chromium()
    assert path is not None, f"There is no Chromium: {HOW}."
    async with (
        system(redis_server, Options(answer=prompted, speed=20.0), secret=SECRET) as parley,
        tapping(parley.urls[0], parley.http) as tap,
        AsyncOpenAI(api_key=mint(SECRET, "ann", "server", time.time(), 60.0), base_url=f"{parley.urls[0]}/v1") as server,
        chromium(path) as browser,
    ):
        secret = await server.realtime.client_secrets.create()
        page = await (await browser.new_context(bypass_csp=True)).new_page()
        await page.goto(parley.urls[0])  # a page of the server's own may talk to it
        await page.add_script_tag(path=BUNDLE)
        url = f"{tap.url.replace('http', 'ws', 1)}/realtime?model=gpt-realtime"
        assert await page.evaluate(TALK, {"url": url, "apiKey": secret.value}) == ["Bonn"]
        (dialled,) = tap.dialled
        assert "Authorization" not in dialled.headers
        judge(tap)
