"""The line to the model breaks or rolls over at each event of a conversation: nobody is answered twice, or not at all.

The conversation has three turns, and in the second the model calls a function before it answers.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NoReturn

import aiohttp
import pytest
from aiohttp import web

from realtime_bridge import retry, rollover, upstream
from realtime_bridge.line import Line
from realtime_bridge.lines import Lines
from realtime_bridge.personas import Personas
from realtime_bridge.rebuild import rebuild
from realtime_bridge.settings import BridgeSettings
from realtime_bridge.upstream import Received
from simulator.answers import Call as Calls
from simulator.answers import Output, Question, Speech
from simulator.audio_format import PCM
from simulator.faults import Fault
from simulator.server import Running, running
from streams import down, turns
from streams.consumer import read
from streams.hub import Hub
from tests.integration.realtime_bridge.backend import SECRET, Backend, Posted, backend
from tests.integration.realtime_bridge.stage import (
    AT_ONCE,
    PROBE,
    REST,
    Call,
    EchoAndRest,
    bridged,
    settings_for,
    silence,
    speech,
)

TURNS = 3
CALLS_IN = 1
"""the turn that has the call"""
COMPLETED = TURNS + 1
"""responses: the call is one of its own"""
ROLL_OVER, SILENT = "roll-over", "silent"
KINDS = ("close=1011", "reset", "expire", SILENT, ROLL_OVER, "close=1001", "error", "garbage")
ALL_KINDS = bool(os.environ.get("CUTS"))
"""Each kind at each event, which takes a few minutes; else one of them at each."""
TOGETHER = 48

PERSONAS = Personas.parse(
    """{"default": "sun", "personas": {"sun": {"instructions": "Be warm.", "voice": "marin", "greeting": "",
    "tools": [{"name": "weather", "description": "The weather of a city."}]}}}"""
)


@dataclass(frozen=True)
class CallInOneTurn:
    """The utterance, as in the other turns, but a function is called first, and knows it."""

    def outputs(self, question: Question) -> tuple[Output, ...]:
        if question.told:
            return (Speech("You said something, I looked it up, and I say it again.", speech(CALLS_IN), PCM),)
        heard = question.utterance
        if heard is not None and speech(CALLS_IN)[:PROBE] in heard.audio:
            return (Calls("weather", '{"city": "Bonn"}'),)
        return EchoAndRest().outputs(question)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.02)


@pytest.fixture
def _rolls_over_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a session's first line is up behind the n-th event that came, if its user's name ends in roll-over@n."""
    roll_over = Lines._roll_over
    begun: set[Lines] = set()

    async def on_demand(lines: Lines, line: Line) -> None:
        kind, _, after = lines._shared.user.rpartition(" ")[2].partition("@")
        if kind != ROLL_OVER or lines in begun:
            return
        begun.add(lines)
        await _handled(line, int(after))
        await roll_over(lines, line)

    monkeypatch.setattr(rollover, "window", lambda *_: rollover.Window(0.0, 0.0))
    monkeypatch.setattr(Lines, "_roll_over", on_demand)


async def _handled(line: Line, events: int) -> None:
    """So many events are, and the next one is still on its way for as long as the line serves."""
    due, frames = asyncio.Event(), line.upstream._frames
    count, take = 0, frames.next

    async def count_and_take() -> Received:
        nonlocal count
        count += 1  # the first, session.created, was taken at the dial
        if count == events:
            due.set()
            await _never()
        return await take()

    frames.next = count_and_take  # type: ignore[method-assign]
    await due.wait()


async def _never() -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError


async def fine(posted: Posted) -> web.StreamResponse:
    return web.json_response({"degrees": 11})


def _watch_first_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session's first line is dead when it owes a pong for a moment. A busy machine may owe one for as long: then that is
    the break, and on the lines behind it no other one follows."""
    connect, usual = upstream._connect, upstream.HEARTBEAT_S
    begun: set[aiohttp.ClientSession] = set()

    async def watched(http: aiohttp.ClientSession, *rest: Any) -> aiohttp.ClientWebSocketResponse:
        monkeypatch.setattr(upstream, "HEARTBEAT_S", usual if http in begun else 0.4)
        begun.add(http)
        return await connect(http, *rest)

    monkeypatch.setattr(upstream, "_connect", watched)


async def converse(call: Call, mode: turns.TurnMode) -> None:
    """Each turn when the one before has been heard."""
    for turn in range(TURNS):
        if mode == "utterance":
            call.records(speech(turn, 1_000), arrived_ms=60_000 * turn)
        else:
            call.says(silence(400) + speech(turn) + silence(800))
        wanted = turn + 1 if turn < CALLS_IN else turn + 2
        await call.until(lambda call, wanted=wanted: call.completed >= wanted, 60.0)  # type: ignore[misc]
        await asyncio.sleep(1.4)


async def check(call: Call, simulator: Running, where: str) -> None:
    """What must hold however the conversation went."""
    breaks = 1 + where.count("+")
    rest = call.heard.count(REST)
    counts = [call.heard.count(speech(turn)[:PROBE]) for turn in range(TURNS)]
    assert all(count <= 1 for count in counts), f"{where}: turns were answered {counts} times"
    places = [call.heard.find(speech(turn)[:PROBE]) for turn in range(TURNS) if counts[turn]]
    assert places == sorted(places), f"{where}: {places}"
    # An answer that broke has its beginning, which may be less than a word, and the rest.
    assert sum(speech(turn) in call.heard for turn in range(TURNS)) + rest >= TURNS, f"{where}: {counts}, rest {rest}"
    assert rest <= breaks, f"{where}: rest {rest}"
    assert call.statuses.count("completed") == COMPLETED, f"{where}: {call.statuses}"
    # An error that is about nothing is told, and the session goes on; nobody is told of what did not read.
    assert set(call.failures) <= ({"server_error"} if where.startswith("error") else set()), f"{where}: {call.failures}"
    refused = [each for session in simulator.sessions for each in session.recording.refused]
    if where.startswith(ROLL_OVER):  # the answer was generated at once, so that it is not there any more to be cancelled
        refused = [each for each in refused if not each.startswith("response.cancel: ")]
    assert not refused, f"{where}: refused {refused}"
    assert call.statuses.count("incomplete") <= breaks, f"{where}: {call.statuses}"
    if where.startswith(ROLL_OVER):
        assert down.Reconnecting() not in call.told, f"{where}: the client was told"
    rebuilt = rebuild(await read(call.hub.redis, call.session.keys.turns, turns.decoder))
    assert rebuilt is not None
    assert _course(rebuilt.items) == COURSE, f"{where}: {_course(rebuilt.items)}"
    last = list[str]()
    with suppress(TimeoutError):
        async with asyncio.timeout(10.0):  # it is being told
            while last != COURSE:
                last = _course([item.body for item in simulator.sessions[-1].conversation.items])
                await asyncio.sleep(0.02)
    assert last == COURSE, f"{where}: the model knows {last}"
    for turn in range(TURNS):
        said = [sum(speech(turn) in u for u in session.recording.utterances) for session in simulator.sessions]
        assert sum(said), f"{where}: the speech of turn {turn} did not reach the model whole"
        assert max(said) == 1, f"{where}: the speech of turn {turn} reached one session {max(said)} times"


COURSE = ["user", "assistant", "user", "function_call", "function_call_output", "assistant", "user", "assistant"]
"""of the whole conversation"""


def _course(items: Sequence[Mapping[str, object]]) -> list[str]:
    """Who said something, in order; an answer that broke and its rest are one."""
    kinds = [str(item.get("role", item.get("type"))) for item in items]
    return [kind for kind, some in groupby(kinds) for _ in (some if kind != "assistant" else "1")]


async def one(hub: Hub, settings: BridgeSettings, fault: str | None, mode: turns.TurnMode, app: Backend) -> int:
    """One conversation that breaks there; how many sessions with the model it took."""
    options = replace(AT_ONCE, answer=CallInOneTurn())
    if fault is not None and not fault.startswith(ROLL_OVER):
        options = replace(options, faults=tuple(map(Fault.parse, fault.split("+"))))
    async with running(options) as simulator:
        theirs = settings.model_copy(update={"openai_base_url": simulator.base_url})
        user = f"{mode} {fault}"
        opened = turns.Opened(user=user, door="watch", turn_mode=mode)
        async with bridged(hub, theirs, user, opened, PERSONAS) as call:
            await converse(call, mode)
            await call.until(lambda call: call.is_connected, 60.0)
            await check(call, simulator, fault or "unbroken")
            posted = sum(each.call["session"] == call.session.sid for each in app.posted)
            assert posted == 1, f"the function was called {posted} times"
            return len(simulator.sessions)


async def broken(hub: Hub, monkeypatch: pytest.MonkeyPatch, mode: turns.TurnMode, faults: list[str]) -> dict[str, int]:
    """A conversation with each of these faults, and one without; how many sessions with the model each took."""
    room = asyncio.Semaphore(TOGETHER)
    failed: list[str] = []
    sockets: dict[str, int] = {}

    async with backend(fine) as app:
        tools = {"PARLEY_TOOLS_URL": app.url, "PARLEY_TOOLS_SECRET": SECRET}
        settings = settings_for(monkeypatch, "http://127.0.0.1:1/v1", **tools)

        async def try_one(fault: str) -> None:
            async with room:
                try:
                    sockets[fault] = await one(hub, settings, fault, mode, app)
                except (AssertionError, TimeoutError) as error:
                    failed.append(f"{fault}: {str(error).splitlines()[:1] or error!r}")

        assert await one(hub, settings, None, mode, app) == 1
        await asyncio.gather(*(try_one(fault) for fault in faults if not fault.startswith(SILENT)))
        with monkeypatch.context() as patched:
            _watch_first_lines(patched)
            await asyncio.gather(*(try_one(fault) for fault in faults if fault.startswith(SILENT)))
    assert not failed, "\n".join(failed)
    return sockets


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("_rolls_over_when_told")
@pytest.mark.parametrize(("mode", "events"), [("server_vad", 130), ("utterance", 125)])
async def test_a_break_behind_each_event(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, mode: turns.TurnMode, events: int
) -> None:
    """The line to the model breaks behind the n-th event that came over it. `events` is more than there are, as the last
    one shows."""
    kinds = [KINDS] * events if ALL_KINDS else [(KINDS[n % len(KINDS)],) for n in range(events)]
    faults = [f"{kind}@{n}" for n, some in enumerate(kinds, 1) for kind in some]
    sockets = await broken(hub, monkeypatch, mode, faults)
    assert sockets[faults[0]] == 2
    rolled = [min(2, sockets[fault]) for fault in faults if fault.startswith(ROLL_OVER)]  # once more is no harm
    assert rolled[0] == 2
    assert rolled == sorted(rolled, reverse=True), "a line did not roll over when it was told to"
    assert sockets[faults[-1]] == 1, "there were more events than the table has"


PAIRS = 400 if ALL_KINDS else 48
SECOND_WITHIN = 30
"""events of the second line; from then on it is as any line"""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", ["server_vad", "utterance"])
async def test_two_breaks(hub: Hub, monkeypatch: pytest.MonkeyPatch, mode: turns.TurnMode) -> None:
    """The line that came after the one that broke breaks too, while it is still being told what was said."""
    chance = random.Random(os.environ.get("SEED", "1") + mode)
    kinds = ("close=1001", "close=1011", "reset", "expire")
    firsts, seconds = range(1, 118), range(1, SECOND_WITHIN + 1)
    places = chance.sample([(first, second) for first in firsts for second in seconds], PAIRS)
    await broken(
        hub, monkeypatch, mode, [f"{chance.choice(kinds)}@{a}+{chance.choice(kinds)}@{b}#2" for a, b in sorted(places)]
    )
