"""OpenAI's own JavaScript SDKs, with only their URL and key changed: speech, text, tools, interruption, a redial.

The scripts are beside this file. They assert by themselves; here is what they do not see.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.answers import Call, tone, words
from tests.contract.doors.openai_stage import System
from tests.contract.sdks import node
from tests.contract.sdks.conftest import ECHO, Prompted
from tests.contract.sdks.wire import Tap, judge, tapping

CALL = (Call("weather", '{"city":"Bonn"}'),)
LONG = (tone(440, 100).speech,)
"""Five seconds, as it is sent: there is time to interrupt it."""
HELLO = (words("Hello.").speech,)


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    node.install()


@pytest.mark.parametrize("socket", ["ws", "websocket"])
async def test_openai(parley: System, prompted: Prompted, tmp_path: Path, socket: str) -> None:
    """`openai` dials with TLS only, in Node.js and as in a browser, where its key is a subprotocol."""
    tls = node.certificate(tmp_path)
    prompted.next.extend((HELLO, ECHO, CALL, HELLO, LONG))
    async with tapping(parley.urls[0], parley.http, tls.context) as tap:
        environment = {"BASE_URL": tap.url, "NODE_EXTRA_CA_CERTS": str(tls.path)}
        await node.run("openai.mjs", socket, on_line=cutting(tap), **environment)
        judge(tap)
    assert len(tap.connections) == 2
    as_protocol = [
        "openai-insecure-api-key.sk-any" in each.headers.get("Sec-WebSocket-Protocol", "") for each in tap.dialled
    ]
    assert as_protocol == [socket == "websocket"] * 2
    assert len(parley.simulator.sessions) == 1, "the model's session has gone on"


async def test_openai_agents(parley: System, tap: Tap, prompted: Prompted) -> None:
    """`@openai/agents`, which truncates by itself when its user interrupts."""
    prompted.next.extend((CALL, HELLO, LONG))
    await node.run("agents.mjs", on_line=cutting(tap), BASE_URL=tap.url)
    judge(tap)
    assert tap.events("up", "conversation.item.truncate"), "it says how much was heard"
    assert tap.events("down", "conversation.item.truncated")
    assert len(parley.simulator.sessions) == 1


def cutting(tap: Tap) -> node.OnLine:
    def on_line(line: str) -> None:
        assert line == "cut", line
        tap.cut()

    return on_line
