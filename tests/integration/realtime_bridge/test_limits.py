"""A session that may use no more: it is told so, its answer comes to its end, and it ends with the reason."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from simulator.answers import tone
from simulator.server import running
from streams import accounts, down, keys, turns
from streams.consumer import read
from streams.hub import Hub
from streams.sessions import Session, now_ms
from streams.usage import NANO_USD, Spent, day_of
from tests.integration.realtime_bridge.test_session_bridge import FAST, Call, bridged, done, over

ANSWER = replace(FAST, answer=tone(440, 1.0), speed=4.0)


@dataclass
class Clock:
    """Of all that is counted in this process. It leaps, so that no session grows old before its test has come so far."""

    ahead_ms: int = 0

    def now_ms(self) -> int:
        return now_ms() + self.ahead_ms

    def leap(self, call: Call, seconds: float) -> None:
        self.ahead_ms += round(seconds * 1000)
        call.bridge._accounting._due.set()  # it waits for a moment that is nearer now

    def is_soon(self, call: Call, age_s: float) -> None:
        """The session is going to be so old in a moment."""
        self.leap(call, age_s - (self.now_ms() - call.bridge._accounting.started_ms) / 1000 - 0.1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("realtime_bridge.accounting.now_ms", clock.now_ms)
    return clock


def is_sound(message: down.DownMessage) -> bool:
    return isinstance(message, down.Audio)


def notices(messages: list[down.DownMessage]) -> list[tuple[str, bool]]:
    return [(message.code, message.final) for message in messages if isinstance(message, down.Notice)]


async def test_a_session_that_has_used_up_its_money(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One answer costs some $0.0019: the first is warned of, the second is the last, and is heard to its end."""
    monkeypatch.setenv("PARLEY_MAX_SESSION_USD", "0.0022")
    async with running(ANSWER) as simulator, bridged(hub, simulator.base_url, tmp_path, monkeypatch) as call:
        await call.says(bytes(48_000))
        first = await call.until(lambda message: isinstance(message, down.Notice))
        assert notices(first) == [("usage_limit_near", False)]
        await call.says(bytes(48_000), arrived_ms=60_000)
        rest = await call.until(over)
        assert notices(rest) == [("usage_limit", True)]
        assert rest[-1] == down.Ended(reason="usage_limit")
        assert not any(isinstance(message, down.Failed) for message in rest), "its last word would end it as a failure"
        assert sum(len(message.audio) for message in rest if isinstance(message, down.Audio)) == 48_000


async def test_an_answer_under_way_is_heard_to_its_end(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """The time is up in its middle; what the user says then is not answered any more."""
    monkeypatch.setenv("PARLEY_MAX_SESSION_S", "600")
    options = replace(ANSWER, answer=tone(440, 8.0))
    async with running(options) as simulator, bridged(hub, simulator.base_url, tmp_path, monkeypatch) as call:
        await call.says(bytes(48_000))
        told = await call.until(is_sound)
        clock.is_soon(call, 480)
        told += await call.until(lambda message: isinstance(message, down.Notice))
        clock.is_soon(call, 600)
        told += await call.until(lambda message: isinstance(message, down.Notice))
        assert not any(map(done, told))
        await call.says(bytes(48_000), arrived_ms=60_000)
        rest = await call.until(over)
        assert rest[-1] == down.Ended(reason="session_too_long")
        assert sum(map(done, rest)) == 1
        audio = sum(len(message.audio) for message in (*told, *rest) if isinstance(message, down.Audio))
        assert audio == 8 * 48_000
        assert notices([*told, *rest]) == [("session_ends_soon", False), ("session_too_long", True)]


async def test_the_last_answer_stays_for_whoever_is_still_to_hear_it(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """It is generated at once and heard in real time: a door that paces it reads it as it is heard."""
    monkeypatch.setenv("PARLEY_MAX_SESSION_S", "600")
    options = replace(ANSWER, answer=tone(440, 60.0), speed=30.0)
    async with running(options) as simulator, bridged(hub, simulator.base_url, tmp_path, monkeypatch) as call:
        await call.says(bytes(48_000))
        await call.until(is_sound)
        clock.is_soon(call, 600)
        await call.until(over)
        async with asyncio.timeout(20):
            while await hub.redis.exists(call.session.keys.pcm):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert 60_000 < await hub.redis.pttl(call.session.keys.down) < 90_000


async def test_a_session_in_which_nobody_speaks(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """It ends by itself, a while after the answer was heard."""
    monkeypatch.setenv("PARLEY_IDLE_STOP_S", "60")
    async with running(ANSWER) as simulator, bridged(hub, simulator.base_url, tmp_path, monkeypatch) as call:
        await call.says(bytes(48_000))
        told = await call.until(done)
        clock.leap(call, 60)
        told += await call.until(over)
        assert told[-1] == down.Ended(reason="idle")
        assert sum(map(done, told)) == 1
        assert notices(told) == [("idle", True)]


async def test_a_user_who_has_used_up_the_day_is_refused(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the model is dialled; and the sentence says when to come back."""
    monkeypatch.setenv("PARLEY_MAX_USER_DAY_USD", "2.50")
    spent = Spent(nano_usd=5 * NANO_USD // 2)
    await accounts.keep(hub.redis, "ann", Session("another", ""), day_of(now_ms()), spent)
    async with running(ANSWER) as simulator, bridged(hub, simulator.base_url, tmp_path, monkeypatch) as call:
        told = await call.until(over)
        assert told[-1] == down.Ended(reason="usage_limit")
        (notice,) = (message for message in told if isinstance(message, down.Notice))
        assert "tomorrow" in notice.message
        assert not simulator.sessions


async def test_a_user_who_uses_up_the_day_in_another_session(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others of the same user use counts here, too, with the next answer."""
    monkeypatch.setenv("PARLEY_MAX_USER_DAY_MINUTES", "60")
    async with running(ANSWER) as simulator, bridged(hub, simulator.base_url, tmp_path, monkeypatch) as call:
        await call.says(bytes(48_000))
        await call.until(done)
        await accounts.keep(hub.redis, "ann", Session("another", ""), day_of(now_ms()), Spent(ms=3_600_000))
        await call.says(bytes(48_000), arrived_ms=60_000)
        assert (await call.until(over))[-1] == down.Ended(reason="usage_limit")


async def test_a_list_of_prices_of_ones_own(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a model that is in no list the tokens are counted, and the log says once that its dollars are not."""
    monkeypatch.setenv("OPENAI_REALTIME_MODEL", "my-own")
    async with running(ANSWER) as simulator, bridged(hub, simulator.base_url, tmp_path, monkeypatch) as call:
        for turn in range(2):
            await call.says(bytes(48_000), arrived_ms=60_000 * turn)
            await call.until(done)
        async with asyncio.timeout(20):
            while len(used := await used_in(hub, call.session)) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert [entry.nano_usd for entry in used] == [None, None]
        assert all(entry.audio_out == 20 for entry in used)
        assert await hub.redis.exists(keys.usage("ann", day_of(now_ms())))


async def used_in(hub: Hub, session: Session) -> list[turns.Used]:
    entries = await read(hub.redis, session.keys.turns, turns.decoder)
    return [e.message for e in entries if isinstance(e.message, turns.Used) and e.message.of == "response"]
