"""Calls to the app's own backend: what goes wrong, how often, how many, and when not at all."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from realtime_bridge.effects import CallTool
from realtime_bridge.tool_calls import Answer, ToolCaller
from simulator.server import running
from streams import turns
from streams.consumer import read
from streams.hub import Hub
from streams.keys import SessionKeys
from tests.integration.realtime_bridge.backend import Handler, Posted, backend
from tests.integration.realtime_bridge.tools_stage import (
    LOG,
    TIME,
    WEATHER,
    bridged,
    calling,
    fine,
    recorded,
    says,
    slow,
    webhook_to,
)


async def down_(posted: Posted) -> web.StreamResponse:
    return web.Response(status=503, text="no")


async def large(posted: Posted) -> web.StreamResponse:
    return web.json_response("x" * 40_000)


async def no_json(posted: Posted) -> web.StreamResponse:
    return web.Response(text="It is warm.")


async def no_text(posted: Posted) -> web.StreamResponse:
    return web.Response(body=b'"\xff"')


async def refuses(posted: Posted) -> web.StreamResponse:
    return web.Response(status=401)


async def elsewhere(posted: Posted) -> web.StreamResponse:
    return web.Response(status=307, headers={"location": "http://127.0.0.1:1/"})


@pytest.mark.parametrize(
    ("handler", "code", "requests"),
    [
        (down_, "failed", 3),
        (slow, "timeout", 1),
        (large, "too_large", 1),
        (no_json, "not_json", 1),
        (no_text, "not_json", 1),
        (refuses, "refused", 1),
        (elsewhere, "refused", 1),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
async def test_what_goes_wrong_is_told_to_the_model(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, handler: Handler, code: str, requests: int
) -> None:
    """A short error that it can speak about, in time; and the conversation goes on."""
    timeout_s = "2" if handler is slow else "20"
    async with (
        backend(handler) as app,
        running(calling(WEATHER)) as simulator,
        bridged(hub, simulator, app, monkeypatch, settings={"PARLEY_TOOLS_TIMEOUT_S": timeout_s}) as call,
    ):
        await call.says(bytes(48_000))
        await call.until(says(f'I was told {{"error":{{"code":"{code}"'))
        assert len(app.posted) == requests
        assert len({posted.headers["webhook-id"] for posted in app.posted}) == 1
        (answered,) = await recorded(call, turns.ToolAnswered)
        assert answered.error == code


async def test_a_backend_that_is_not_there_is_told_to_the_model(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    async with backend(fine) as gone:
        pass
    async with running(calling(WEATHER)) as simulator, bridged(hub, simulator, gone, monkeypatch) as call:
        await call.says(bytes(48_000))
        await call.until(says('"code":"unreachable"'))


async def test_a_backend_that_fails_once_is_asked_again(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 500, then an answer: the same id, each signed for its own moment."""

    async def answer(posted: Posted) -> web.StreamResponse:
        return web.Response(status=500) if posted.nth == 1 else web.json_response({"degrees": 11})

    async with (
        backend(answer) as app,
        running(calling(WEATHER)) as simulator,
        bridged(hub, simulator, app, monkeypatch) as call,
    ):
        await call.says(bytes(48_000))
        await call.until(says('I was told {"degrees": 11}.'))
        first, second = app.posted
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.is_signed
        assert second.is_signed


async def test_no_more_calls_at_a_time_than_allowed(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others wait for their turn; who waits too long is told to the model as busy."""
    both_there = asyncio.Event()

    async def answer(posted: Posted) -> web.StreamResponse:
        if posted.nth > 2:
            await asyncio.sleep(30)
        if posted.nth == 2:
            both_there.set()
        await both_there.wait()
        return web.json_response({})

    options = calling(*[TIME] * 5)
    settings = {"PARLEY_TOOLS_AT_ONCE_PER_SESSION": "2", "PARLEY_TOOLS_TIMEOUT_S": "2"}
    async with (
        backend(answer) as app,
        running(options) as simulator,
        bridged(hub, simulator, app, monkeypatch, settings=settings) as call,
    ):
        await call.says(bytes(48_000))
        await call.until(says("I was told"))
        assert app.most_at_once == 2
        answered = await recorded(call, turns.ToolAnswered)
        assert len(answered) == 5
        assert [each.error for each in answered].count(None) == 2
        assert {each.error for each in answered} <= {None, "busy", "timeout"}


async def test_a_call_is_recorded_before_it_is_made(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a bridge that dies would leave an effect of which nobody knows."""
    known: list[str] = []

    async def answer(posted: Posted) -> web.StreamResponse:
        entries = await read(hub.redis, SessionKeys(posted.call["session"]).turns, turns.decoder)
        known.extend(type(entry.message).__name__ for entry in entries)
        return web.json_response({})

    async with (
        backend(answer) as app,
        running(calling(WEATHER)) as simulator,
        bridged(hub, simulator, app, monkeypatch) as call,
    ):
        await call.says(bytes(48_000))
        await call.until(says("I was told"))
        assert known[-2:] == ["ToolCalled", "Answered"]


class _NotOurs(Exception):
    """Stands for a lease that is lost."""


@pytest.mark.parametrize("allowed", [0, 1])
async def test_nothing_is_posted_for_a_session_of_somebody_elses(monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    """Asked before each try, also before one more."""
    asked = 0

    async def clear_to_act() -> None:
        nonlocal asked
        asked += 1
        if asked > allowed:
            raise _NotOurs

    async with backend(down_) as app, aiohttp.ClientSession() as http:
        caller = ToolCaller(webhook_to(app, http, monkeypatch), "s1", LOG, clear_to_act)
        caller.call(CallTool("a", "weather", "{}", "sun"), "ann")
        with pytest.raises(ExceptionGroup) as caught:
            await asyncio.wait_for(caller.run(), 10)
        assert caught.group_contains(_NotOurs)
        assert len(app.posted) == allowed


async def test_all_sessions_of_a_process_share_its_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a call that was asked for twice is made once."""
    both_there = asyncio.Event()

    async def answer(posted: Posted) -> web.StreamResponse:
        if posted.nth == 2:
            both_there.set()
        await both_there.wait()
        return web.json_response(posted.call["session"])

    async def always() -> None:
        pass

    monkeypatch.setenv("PARLEY_TOOLS_AT_ONCE", "2")
    async with backend(answer) as app, aiohttp.ClientSession() as http:
        webhook = webhook_to(app, http, monkeypatch)
        callers = [ToolCaller(webhook, f"s{n}", LOG, always) for n in range(4)]
        running_ = [asyncio.create_task(caller.run()) for caller in callers]
        for caller in callers:
            for _ in range(2):
                caller.call(CallTool("a", "weather", "{}", "sun"), "ann")
        for n, caller in enumerate(callers):
            assert await anext(caller.answers()) == Answer("a", f'"s{n}"')
        for task in running_:
            task.cancel()
        await asyncio.wait(running_)
        assert (len(app.posted), app.most_at_once) == (4, 2)
