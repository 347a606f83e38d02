"""Our extension of the openai door: what was sent is there once, what was said is heard once, whatever breaks in between."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from random import Random

import pytest
from redis.asyncio import Redis

from gateway.numbering import ACK_EVERY_EVENTS, ACK_EVERY_S
from runtime.embedded import EmbeddedServer
from simulator.answers import Echo
from simulator.options import Options
from streams import pcm
from streams.consumer import read
from streams.ids import EntryId
from streams.keys import SessionKeys
from streams.messages import VOID, ClientEvent
from streams.sessions import Session, Sessions
from streams.trim import trim
from tests.contract.doors.openai_stage import LIMIT_S, NumberedClient, Object, System, Talker, coded_frame, spoken, system

CUTS = int(os.environ.get("CUTS", "30"))
"""How often the line breaks. `CUTS=200 make test ARGS="-k line_that_breaks"` for a longer look."""

pytestmark = pytest.mark.usefixtures("redis")

LIVE = Options(answer=Echo(live=True), speed=0, record_s=600)
"""Every append comes back at once, as it was."""


@pytest.fixture
async def parley(redis_server: EmbeddedServer, redis: Redis) -> AsyncIterator[System]:
    async with system(redis_server, LIVE, gateways=2) as parley:
        yield parley


def keys_of(session: str) -> SessionKeys:
    return SessionKeys(session.removeprefix("sess_"))


@pytest.mark.timeout(60 + CUTS)
async def test_a_line_that_breaks_loses_nothing_and_doubles_nothing(parley: System) -> None:
    """Cut at random moments, both ways; gone on with at the other gateway. Each frame arrives once, and comes back once."""
    random = Random(1)
    client = NumberedClient(parley)
    await client.connect(0)
    frames = 0
    for cut in range(CUTS):
        for _ in range(random.randint(1, 30)):
            await client.append(coded_frame(frames))
            frames += 1
            if random.random() < 0.3:
                await asyncio.sleep(random.choice((0.0, 0.001, 0.004)))
        await client.cut()
        if random.random() < 0.2:
            await client.append(coded_frame(frames))  # said while there is no line
            frames += 1
        await client.connect((cut + 1) % 2)
    sent = b"".join(coded_frame(number) for number in range(frames))
    await client.until(lambda: client.acked == client.sent and len(client.audio) >= len(sent))
    (session,) = parley.simulator.sessions
    assert bytes(session.recording.appended) == sent
    assert client.audio == sent
    dids = [EntryId.parse(did) for did, _ in client.heard]
    assert dids == sorted(set(dids))
    assert client.cuts == CUTS
    assert not [reply for reply in client.replies if reply["type"] in ("error", "parley.resync")]
    await client.close()


async def sends(client: Talker, useq: int, audio: bytes | None = None) -> None:
    await client.append(coded_frame(useq) if audio is None else audio, useq=useq)


async def acked(client: Talker, useq: int) -> list[Object]:
    """All that is told until this number is acknowledged."""
    return await client.until(lambda event: event["type"] == "parley.ack" and event["useq"] >= useq)


async def test_what_is_stored_is_acknowledged(parley: System, redis: Redis) -> None:
    """Cumulatively, and not for each event; a number is its place in the stream."""
    now = asyncio.get_running_loop().time
    async with parley.talker("?parley=1") as client:
        session = (await client.hear())["session"]["id"]
        began = now()
        for useq in range(1, 51):
            await sends(client, useq)
        acks = [event["useq"] for event in await acked(client, 50) if event["type"] == "parley.ack"]
        assert acks == sorted(set(acks))
        assert len(acks) <= 50 / ACK_EVERY_EVENTS + (now() - began) / ACK_EVERY_S + 1
        entries = await read(redis, keys_of(session).pcm, pcm.decoder)
        assert entries[-1].id.right == 50 * 4096


async def test_only_the_next_number_is_taken(parley: System) -> None:
    """What is missing is asked for once; what comes again is acknowledged, and not stored again."""
    async with parley.talker("?parley=1") as client:
        await client.hear()
        await sends(client, 1)
        await acked(client, 1)
        for useq in (3, 4):
            await sends(client, useq)
        wants = (await client.until("parley.want"))[-1]
        assert wants == {"type": "parley.want", "useq": 2}
        for useq in (1, 2, 3):
            await sends(client, useq)
        told = await acked(client, 3)
        assert not [event for event in told if event["type"] == "parley.want"]
        frames = b"".join(map(coded_frame, (1, 2, 3)))
        while len(spoken(client.log)) < len(frames):
            await client.hear()
        assert bytes(parley.simulator.sessions[0].recording.appended) == frames


async def test_an_event_without_a_number_is_refused(parley: System) -> None:
    async with parley.talker("?parley=1") as client:
        await client.hear()
        await client.say("response.create", event_id="mine")
        error = (await client.hear())["error"]
        assert (error["code"], error["param"], error["event_id"]) == ("missing_required_parameter", "useq", "mine")


async def test_a_refused_event_has_used_up_its_number(parley: System, redis: Redis) -> None:
    """Sent again it is acknowledged, and refused no second time."""
    async with parley.talker("?parley=1") as client:
        session = (await client.hear())["session"]["id"]
        bad = {"type": "input_audio_buffer.append", "audio": "!", "useq": 1}
        await client.say_event(bad)
        assert (await client.hear())["error"]["code"] == "invalid_value"
        await client.say_event(bad)
        await sends(client, 2)
        assert not [event for event in await acked(client, 2) if event["type"] == "error"]
        messages = [entry.message for entry in await read(redis, keys_of(session).pcm, pcm.decoder)]
        assert [message.type for message in messages if isinstance(message, ClientEvent)] == [VOID]


async def test_all_that_the_session_says_has_its_place(parley: System) -> None:
    """In rising order; the door's own replies have none."""
    async with parley.talker("?parley=1") as client:
        await client.hear()
        await client.say("session.update", useq=1, session={"type": "realtime"})
        await client.say("nothing", useq=2)
        await sends(client, 3)
        await client.until("response.output_audio.delta")
        dids = [EntryId.parse(event["did"]) for event in client.log if "did" in event]
        assert dids == sorted(set(dids))
        assert {event["type"] for event in client.log if "did" not in event} <= {"error", "parley.ack"}


async def test_plain_clients_see_nothing_of_it(parley: System) -> None:
    async with parley.talker() as client:
        await client.hear()
        await client.append(coded_frame(1))
        await client.until("response.output_audio.delta")
        assert not [event for event in client.log if "did" in event or event["type"].startswith("parley.")]


async def test_what_was_received_and_played_is_kept(parley: System, redis: Redis) -> None:
    """By the client's own word alone, once it has given it."""
    async with parley.talker("?parley=1") as client:
        session = Session((await client.hear())["session"]["id"].removeprefix("sess_"), "")
        await sends(client, 1)
        delta = (await client.until("response.output_audio.delta"))[-1]
        await client.say("parley.received", did=delta["did"])
        await client.say("parley.played", did=delta["did"], item_id=delta["item_id"], played_ms=20, useq=2)
        async with asyncio.timeout(LIMIT_S):
            for cursor in ("arrived", "played"):
                while str(await Sessions(redis).cursor(session, cursor)) != delta["did"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        await acked(client, 2)  # it needs no number, and uses one up if it has it


async def test_what_is_not_there_any_more_is_announced(parley: System, redis: Redis) -> None:
    """A client that comes back for what was trimmed is told where it goes on."""
    async with parley.talker("?parley=1") as client:
        session = (await client.hear())["session"]["id"]
        for useq in range(1, 6):
            await sends(client, useq)
            await client.until("response.output_audio.delta")
        client.cut()
    dids = [EntryId.parse(event["did"]) for event in client.log if "did" in event]
    await trim(redis, keys_of(session).down, dids[4])
    async with parley.talker(f"?parley=1&session={session}&after={dids[2]}", gateway=1) as client:
        resumed = await client.hear()
        assert (resumed["type"], resumed["after"], resumed["next_useq"]) == ("parley.resumed", str(dids[2]), 6)
        assert await client.hear() == {"type": "parley.resync", "after": str(dids[2]), "from": str(dids[5])}
        assert (await client.hear())["did"] == str(dids[5])
        client.cut()
    async with parley.talker(f"?parley=1&session={session}&after={dids[4]}") as client:
        assert (await client.hear())["type"] == "parley.resumed"
        assert (await client.hear())["did"] == str(dids[5]), "nothing was missed: what was trimmed had been received"


async def test_a_close_with_1000_is_a_goodbye(parley: System, redis: Redis) -> None:
    """And any other is not."""
    async with parley.talker("?parley=1") as client:
        session = keys_of((await client.hear())["session"]["id"])
        await sends(client, 1)
        await acked(client, 1)
        await client.ws.close(code=1001)
    await asyncio.sleep(0.1)
    assert await redis.exists(session.pcm)
    async with parley.talker(f"?parley=1&session={session.sid}") as client:
        await client.until("response.output_audio.delta")
        await client.ws.close(code=1000)
    async with asyncio.timeout(LIMIT_S):
        while await redis.exists(session.pcm):  # noqa: ASYNC110 - another process: no event
            await asyncio.sleep(0.005)
