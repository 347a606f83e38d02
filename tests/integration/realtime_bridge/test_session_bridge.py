"""One session's bridge between a real Redis and the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import msgspec
import pytest

from realtime_bridge.line import KEPT_ENTRIES
from realtime_bridge.personas import Personas
from realtime_bridge.session_bridge import Resources, SessionBridge
from realtime_bridge.settings import BridgeSettings
from simulator.answers import tone
from simulator.options import Options
from simulator.server import running
from streams import down, pcm, turns
from streams.consumer import Consumer, read
from streams.dispatch import Assignment, Lease
from streams.errors import StreamUnavailable
from streams.hub import Hub
from streams.ids import BIRTH, EntryId
from streams.messages import End, SetPersona
from streams.producer import Marked, Producer
from streams.sessions import Session, Sessions, now_ms

FAST = Options(speed=0.0, transcription_delay_s=0.0)

PERSONAS = """{"default": "sun", "personas": {
    "sun": {"instructions": "Be warm.", "voice": "marin"},
    "mars": {"instructions": "Be bold.", "voice": "cedar"}}}"""


class Call:
    """A session, its bridge at work, and what the client would hear."""

    def __init__(self, hub: Hub, session: Session, bridge: SessionBridge) -> None:
        self.hub, self.session, self.bridge = hub, session, bridge
        self.uplink = Producer(hub.writer, session.keys.pcm, Marked("test"))
        self.told: list[down.DownMessage] = []
        self.last = BIRTH

    async def says(self, audio: bytes, arrived_ms: int = 0) -> None:
        """A whole recording."""
        self.uplink.append(pcm.Audio(audio))
        await self.uplink.append(pcm.UtteranceEnd(samples=len(audio) // 2, arrived_ms=arrived_ms, source="test"))

    async def until(self, wanted: Callable[[down.DownMessage], bool], within_s: float = 20.0) -> list[down.DownMessage]:
        """All that is told up to and with the wanted one."""
        found: list[down.DownMessage] = []
        keys = self.session.keys
        async with (
            asyncio.timeout(within_s),
            Consumer(self.hub.redis, self.hub.bus, keys.down, down.decoder, after=self.last) as entries,
        ):
            async for entry in entries:
                self.last = entry.id
                found.append(entry.message)
                if wanted(entry.message):
                    break
        return found


def done(message: down.DownMessage) -> bool:
    return isinstance(message, down.ServerEvent) and message.type == "response.done"


def over(message: down.DownMessage) -> bool:
    return isinstance(message, down.Ended)


def heard(messages: list[down.DownMessage]) -> bytes:
    return b"".join(message.audio for message in messages if isinstance(message, down.Audio))


@asynccontextmanager
async def bridged(
    hub: Hub, base_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str = "k"
) -> AsyncIterator[Call]:
    """A session with a bridge on it."""
    monkeypatch.setenv("OPENAI_BASE_URL", base_url)
    monkeypatch.setenv("OPENAI_API_KEY", key)
    opened = turns.Opened(user="ann", door="mobile", turn_mode="utterance")
    session = (await Sessions(hub.redis).create(opened, "ann")).session
    async with aiohttp.ClientSession() as http:
        resources = Resources(BridgeSettings.load(), Personas.parse(PERSONAS), hub, http, "test:1")
        bridge = SessionBridge(Assignment(EntryId(1, 1), session), resources)
        task = asyncio.create_task(bridge.run())
        try:
            yield Call(hub, session, bridge)
        finally:
            bridge.end("the test is over")
            await asyncio.wait_for(task, 10)


async def test_a_recording_is_answered_with_itself(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The echo is whole, and both sides are recorded in `turns` under the bridge's epoch."""
    spoken = bytes(range(256)) * 300
    async with running(FAST) as simulator, bridged(hub, simulator.base_url, tmp_path, monkeypatch) as call:
        await call.says(spoken)
        assert heard(await call.until(done)) == spoken
        entries = await read(hub.redis, call.session.keys.turns, turns.decoder)
        assert [type(entry.message) for entry in entries][:2] == [turns.Opened, turns.EpochTaken]
        assert {turns.Committed, turns.AssistantSaid} <= {type(entry.message) for entry in entries}
        assert len({entry.id.left for entry in entries[1:]}) == 1


async def test_the_end_says_so_and_frees_everything(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last word is readable for a while; nothing can be written any more."""
    async with running(FAST) as simulator, bridged(hub, simulator.base_url, tmp_path, monkeypatch) as call:
        await call.says(bytes(48_000))
        await call.until(done)
        call.uplink.append(End("client_left"))
        assert (await call.until(over))[-1] == down.Ended(reason="client_left")
        async with asyncio.timeout(20):
            while await hub.redis.exists(call.session.keys.pcm, call.session.keys.lease):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await Sessions(hub.redis).find("ann", "ann") is None
        assert 0 < await hub.redis.pttl(call.session.keys.down) <= 10_000


async def test_an_end_before_the_beginning(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client may be gone for too long before its bridge has read what was said: the session ends all the same."""
    async with running(FAST) as simulator, bridged(hub, simulator.base_url, tmp_path, monkeypatch) as call:
        call.bridge.end("client_gone")
        async with asyncio.timeout(20):  # its name is free before what it held is
            while (await Sessions(hub.redis).find("ann", "ann")) or await hub.redis.exists(call.session.keys.pcm):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_a_refused_key_is_told_with_what_to_do(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No retry: the reason, then the end."""
    options = replace(FAST, api_key="right")
    async with running(options) as simulator, bridged(hub, simulator.base_url, tmp_path, monkeypatch, "wrong") as call:
        await call.says(bytes(48_000))
        *_, failed, ended = await call.until(over)
        assert isinstance(failed, down.Failed)
        assert "OPENAI_API_KEY" in failed.message
        assert ended == down.Ended(reason="invalid_api_key")


async def test_a_model_that_hangs_up_is_told(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is up in mid-session: a sentence and an end, never silence."""
    options = replace(FAST, session_s=0.4)
    async with running(options) as simulator, bridged(hub, simulator.base_url, tmp_path, monkeypatch) as call:
        await call.says(bytes(48_000))
        *_, failed, ended = await call.until(over)
        assert isinstance(failed, down.Failed)
        assert failed.code == "upstream_lost"
        assert ended == down.Ended(reason="upstream_lost")


async def test_another_voice_is_another_socket(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After it has spoken: a fresh upstream session, the persona set, a greeting; and the conversation goes on."""
    async with running(FAST) as simulator, bridged(hub, simulator.base_url, tmp_path, monkeypatch) as call:
        await call.says(bytes(48_000))
        await call.until(done)
        call.uplink.append(SetPersona("mars"))
        greeting = await call.until(done)
        assert down.PersonaSet(persona="mars") in greeting
        assert heard(greeting)
        assert len(simulator.sessions) == 2
        spoken = bytes(range(250)) * 240
        await call.says(spoken, arrived_ms=60_000)
        answers = await call.until(done)
        while not any(isinstance(message, down.Audio) for message in answers):
            answers = await call.until(done)
        assert heard(answers) == spoken


async def test_what_has_arrived_is_trimmed_and_what_has_not_is_kept(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty seconds of answer: nothing is trimmed until the client has it, and then not the last of it."""
    options = replace(FAST, answer=tone(440.0, 60.0))
    async with running(options) as simulator, bridged(hub, simulator.base_url, tmp_path, monkeypatch) as call:
        await call.says(bytes(48_000))
        answer = await call.until(done)
        whole = len(heard(answer))
        assert whole == 60 * 48_000
        held = await read(hub.redis, call.session.keys.down, down.decoder)
        assert sum(len(e.message.audio) for e in held if isinstance(e.message, down.Audio)) == whole
        arrived = call.last
        await Sessions(hub.redis).set_cursor(call.session, "arrived", arrived)
        await call.says(bytes(48_000), arrived_ms=90_000)
        await call.until(done)
        kept = held
        async with asyncio.timeout(10):
            while len(kept) > KEPT_ENTRIES:
                kept = await read(hub.redis, call.session.keys.down, down.decoder, upto=arrived)
        assert len(kept) == KEPT_ENTRIES


async def test_a_client_too_far_behind_hears_no_more_of_the_answer(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six minutes that never arrive: the answer is broken off with a sentence, and nothing said before is trimmed."""
    options = replace(FAST, answer=tone(440.0, 1_200.0), speed=200.0)
    async with running(options) as simulator, bridged(hub, simulator.base_url, tmp_path, monkeypatch) as call:
        await call.says(bytes(48_000))
        told = await call.until(lambda m: isinstance(m, down.Failed), within_s=30)
        assert isinstance(failed := told[-1], down.Failed)
        assert failed.code == "client_too_slow"
        # A machine that stands still hears a second's worth, 9 MiB, at once; a quarter of the answer is never heard.
        assert 16 << 20 <= len(heard(told)) < 41 << 20
        (finished,) = [message for message in await call.until(done) if done(message)]
        assert isinstance(finished, down.ServerEvent)
        assert msgspec.json.decode(finished.body)["response"]["status"] == "cancelled"


async def test_a_session_that_is_bridged_is_left_alone(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second bridge that is handed the same session finds the lease taken, and changes nothing."""
    async with running(FAST) as simulator, bridged(hub, simulator.base_url, tmp_path, monkeypatch) as call:
        await call.says(bytes(48_000))
        await call.until(done)
        before = await hub.redis.xlen(call.session.keys.turns)
        second = SessionBridge(Assignment(EntryId(1, 2), call.session), call.bridge._r)
        assert not await asyncio.wait_for(second.run(), 10)
        assert await hub.redis.xlen(call.session.keys.turns) == before
        assert await Lease(hub.redis, call.session, "other").holder() is not None


async def test_a_process_that_stops_leaves_the_session_to_another(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a word to the client; the next bridge knows what was said, and answers what was not answered."""
    async with running(FAST) as simulator, bridged(hub, simulator.base_url, tmp_path, monkeypatch) as call:
        first, second = bytes(range(256)) * 300, bytes(range(255, -1, -1)) * 300
        await call.says(first)
        await call.until(done)
        call.bridge.leave()
        async with asyncio.timeout(20):
            while await hub.redis.exists(call.session.keys.lease):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await call.says(second, arrived_ms=60_000)
        heir = SessionBridge(Assignment(EntryId(1, 2), call.session), call.bridge._r)
        task = asyncio.create_task(heir.run())
        told = await call.until(done)
        assert not any(isinstance(message, down.Ended | down.Failed) for message in told)
        assert heard(told) == second
        model = simulator.sessions[-1]
        assert "samples" in str(model.conversation.items[0])
        heir.end("over")
        assert await asyncio.wait_for(task, 10)


async def test_the_grace_time_does_not_begin_anew_with_each_bridge(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that had been gone for longer when the bridge took over is not waited for again."""
    monkeypatch.setenv("PARLEY_GRACE_S", "5")
    async with running(FAST) as simulator, bridged(hub, simulator.base_url, tmp_path, monkeypatch) as call:
        await call.says(bytes(48_000))
        await call.until(done)
        call.bridge.leave()
        async with asyncio.timeout(20):
            while await hub.redis.exists(call.session.keys.lease):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await hub.redis.hset(call.session.keys.cursors, "detached_ms", str(now_ms() - 60_000))
        heir = SessionBridge(Assignment(EntryId(1, 2), call.session), call.bridge._r)
        assert await asyncio.wait_for(heir.run(), 10)
        assert (await call.until(over))[-1] == down.Ended(reason="client_gone")


async def test_housekeeping_that_fails_hangs_up_on_nobody(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trim that Redis does not answer: the same upstream socket goes on, and the next turn is answered."""

    async def fails(*_: object) -> int:
        raise StreamUnavailable("no answer")

    monkeypatch.setattr("realtime_bridge.line.trim", fails)
    async with running(FAST) as simulator, bridged(hub, simulator.base_url, tmp_path, monkeypatch) as call:
        for turn in range(3):
            await call.says(bytes(48_000), arrived_ms=60_000 * turn)
            assert heard(await call.until(done))
        assert len(simulator.sessions) == 1
