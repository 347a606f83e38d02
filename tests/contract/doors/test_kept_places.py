"""What has reached a client is kept where another gateway finds it, should this one die."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pybase64
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from redis.asyncio import Redis

from gateway import following
from gateway.app import create_app
from gateway.appkeys import CONNECTIONS
from gateway.control import Control
from gateway.errors import ConnectionOver
from gateway.settings import GatewaySettings
from gateway.transports.websocket import TextSocket
from gateway.uplink import Uplink
from streams.attach import read_control
from streams.ids import EntryId
from streams.sessions import Cursor, Session, Sessions
from streams.writer import Writer
from tests.contract.doors.stage import LIMIT_S, Bridge, Client, Stage


@pytest.fixture(autouse=True)
def _nobody_is_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the client who is to say what has arrived, nor Redis who is to keep it."""
    monkeypatch.setattr("gateway.connections.ARRIVE_WITHIN_S", LIMIT_S)
    monkeypatch.setattr("gateway.connections.KEEP_WITHIN_S", LIMIT_S)


@dataclass
class House:
    """A gateway whose process is this one."""

    app: web.Application
    stage: Stage


@pytest.fixture
async def house(settings: GatewaySettings, redis: Redis) -> AsyncIterator[House]:
    app = create_app(settings)
    async with TestServer(app) as server, aiohttp.ClientSession() as http, Writer(redis) as writer:
        yield House(app, Stage(str(server.make_url("")).rstrip("/"), http, redis, writer))


@pytest.fixture
def is_being_kept(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """The first place that is to be kept is not, until whoever keeps it is interrupted."""
    set_cursor, begun = Sessions.set_cursor, asyncio.Event()

    async def hang_at_first(self: Sessions, session: Session, cursor: Cursor, entry: EntryId, *by: str) -> None:
        if begun.is_set():
            await set_cursor(self, session, cursor, entry, *by)
            return
        begun.set()
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(Sessions, "set_cursor", hang_at_first)
    return begun


@dataclass
class Talk:
    """A conversation of two entries, which the client has heard."""

    session: Session
    bridge: Bridge
    heard: EntryId
    """the last one"""


async def _talk(stage: Stage, client: Client) -> Talk:
    await client.say_audio(b"a recording")
    session = await stage.session()
    await stage.up(session, 2)
    bridge = await stage.bridge(session)
    for at in range(2):
        await bridge.say_audio(bytes(4_800), start_ms=100 * at)
        await client.hear_audio()
    return Talk(session, bridge, await stage.newest(session))


async def test_what_has_arrived_is_kept_as_soon_as_it_is_known(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the next ping: or whoever dials again after a gateway was killed hears two intervals again, not one."""
    monkeypatch.setattr(following, "PING_EVERY_S", 3600.0)
    async with stage.client() as client:
        session = await stage.session()
        bridge = await stage.bridge(session)
        await stage.arrived(session, await stage.newest(session))
        # As much as is asked about at once, whatever the time.
        for at in range(2):
            await bridge.say_audio(bytes(4_800), start_ms=100 * at)
            await client.hear_audio()
        await stage.arrived(session, await stage.newest(session))


async def test_a_gateway_that_stops_cuts_nobody_off(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is known what has arrived, and the goodbye is waited for, also of whom it tells twice that it stops."""
    depart, departed = TextSocket.depart, asyncio.Event()

    async def look(self: TextSocket, over: ConnectionOver) -> None:
        await depart(self, over)
        departed.set()

    monkeypatch.setattr(TextSocket, "depart", look)
    async with house.stage.client() as client:
        talk = await _talk(house.stage, client)
        dismissed = asyncio.create_task(house.app[CONNECTIONS].dismiss())
        assert (await client.hear_close())[0] == 1012
        await dismissed
        assert departed.is_set()
        assert await Sessions(house.stage.redis).cursor(talk.session, "arrived") == talk.heard


async def test_a_phone_in_a_conversation_is_not_cut_off_either(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection is more than the conversation; that is left in good order before it ends."""
    depart, known = TextSocket.depart, []
    async with house.stage.client("/realtime") as phone:
        assert (await phone.hear())["type"] == "session.created"
        told = await phone.ask({"type": "start_conversation", "conversationId": "c1", "conversationHistory": []})
        assert told["type"] == "conversation_started"
        await phone.say({"type": "audio_chunk", "data": pybase64.b64encode_as_string(bytes(480))})
        session = await house.stage.session("anonymous", "c1")
        await house.stage.pcm(session, 2)
        bridge = await house.stage.bridge(session)
        await bridge.say_audio(bytes(4_800))
        await phone.hear()
        said = await house.stage.newest(session)

        async def look(self: TextSocket, over: ConnectionOver) -> None:
            known.append(await Sessions(house.stage.redis).cursor(session, "arrived"))
            await depart(self, over)

        monkeypatch.setattr(TextSocket, "depart", look)
        dismissed = asyncio.create_task(house.app[CONNECTIONS].dismiss())
        assert (await phone.hear_close())[0] == 1012
        await dismissed
        assert known == [said]
        assert not await house.stage.redis.exists(session.keys.attach)


async def test_what_has_arrived_is_kept_before_the_goodbye_is_said(
    house: House, is_being_kept: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or whoever dials again at once hears it again."""
    depart, known = TextSocket.depart, []
    async with house.stage.client() as client:
        talk = await _talk(house.stage, client)

        async def look(self: TextSocket, over: ConnectionOver) -> None:
            known.append(await Sessions(house.stage.redis).cursor(talk.session, "arrived"))
            await depart(self, over)

        monkeypatch.setattr(TextSocket, "depart", look)
        async with asyncio.timeout(LIMIT_S):
            await is_being_kept.wait()
        dismissed = asyncio.create_task(house.app[CONNECTIONS].dismiss())
        assert (await client.hear_close())[0] == 1012
        assert known == [talk.heard]
        await dismissed


async def test_who_dials_again_while_his_last_words_are_stored_hears_nothing_again(
    house: House, is_being_kept: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """His connection is over and still holds the session, and what has arrived was not kept yet."""
    monkeypatch.setattr("streams.attach.PROBE_S", 0.2)
    leave, is_leaving, may_leave = Uplink.leave, asyncio.Event(), asyncio.Event()

    async def leave_late(self: Uplink) -> bool:
        is_leaving.set()
        await may_leave.wait()
        return await leave(self)

    monkeypatch.setattr(Uplink, "leave", leave_late)
    async with house.stage.client() as client:
        talk = await _talk(house.stage, client)
        async with asyncio.timeout(LIMIT_S):
            await is_being_kept.wait()
            await client.ws.close()
            await is_leaving.wait()
    try:
        async with house.stage.client() as client:
            await client.hear_nothing_more()  # then it listens
            await talk.bridge.say_audio(b"\x01\x02", start_ms=200)
            assert await client.hear_audio() == b"\x01\x02"
    finally:
        may_leave.set()


async def test_who_dials_again_waits_until_his_connection_has_let_go(
    house: House, is_being_kept: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no longer: not for the answer to a ping that nobody gives any more."""
    monkeypatch.setattr("streams.attach.PROBE_S", 3600.0)
    set_cursor, is_leaving, may_leave = Sessions.set_cursor, asyncio.Event(), asyncio.Event()

    async def set_late(self: Sessions, session: Session, cursor: Cursor, entry: EntryId, *by: str) -> None:
        if is_being_kept.is_set():
            is_leaving.set()
            await may_leave.wait()
        await set_cursor(self, session, cursor, entry, *by)

    monkeypatch.setattr(Sessions, "set_cursor", set_late)
    async with house.stage.client() as client:
        await _talk(house.stage, client)
        async with asyncio.timeout(LIMIT_S):
            await is_being_kept.wait()
            await client.ws.close()
            await is_leaving.wait()

    is_asked, heard = asyncio.Event(), Control.heard

    def note(self: Control, data: bytes) -> None:
        if read_control(data)[0] == "probe":
            is_asked.set()
        heard(self, data)

    monkeypatch.setattr(Control, "heard", note)

    async def dial_again() -> None:
        async with house.stage.client() as again:
            await again.hear_nothing_more()

    dialled = asyncio.create_task(dial_again())
    async with asyncio.timeout(LIMIT_S):
        await is_asked.wait()
    may_leave.set()
    async with asyncio.timeout(LIMIT_S):
        await dialled
