"""`parley sessions`: who talks now, at any gateway; and what may be done about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.operate.api import Object, Operator, operator, session_of

EVERY_S = 2.0
_WIDTH = 140
_STATES = {"live": "green", "detached": "yellow", "waiting": "red", "quiet": "cyan"}


@dataclass(frozen=True)
class SessionsOptions:
    """As they were typed."""

    url: str | None
    user: str | None
    limit: int
    as_json: bool
    watch: bool
    gateways: bool
    end: str | None
    drain: str | None
    take: str | None


async def run(options: SessionsOptions, console: Console | None = None) -> int:
    """The command. Raises OperateError, SettingsError."""
    console = console or Console(highlight=False)
    console.width = max(console.width, _WIDTH)
    async with operator(options.url) as asking:
        if options.end is not None:
            await asking.end(await session_of(asking, options.end), after_answer=False)
        if options.drain is not None:
            await asking.drain(options.drain, wanted=True)
        if options.take is not None:
            await asking.drain(options.take, wanted=False)
        if (options.end or options.drain or options.take) and not options.watch:
            console.print("It is stored: a session ends at once, a gateway hears of it within 2 s.")
        elif options.as_json:
            await _print_json(asking, options)
        else:
            await _show(asking, options, console)
    return 0


async def _print_json(asking: Operator, options: SessionsOptions) -> None:
    while True:
        said: Any = await _asked(asking, options)
        print(msgspec.json.encode(said).decode(), flush=True)
        if not options.watch:
            return
        await asyncio.sleep(EVERY_S)


async def _show(asking: Operator, options: SessionsOptions, console: Console) -> None:
    draw = _gateways if options.gateways else _sessions
    if not options.watch:
        console.print(draw(await _asked(asking, options), time.time()))
        return
    with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
        while True:
            live.update(draw(await _asked(asking, options), time.time()), refresh=True)
            await asyncio.sleep(EVERY_S)


async def _asked(asking: Operator, options: SessionsOptions) -> Object:
    if options.gateways:
        return {"gateways": await asking.gateways()}
    return await asking.sessions(options.limit, options.user)


def _sessions(said: Object, now: float) -> Group:
    drawn = _table(
        ("user", "door", "sound", "state", "up", "down", "answer", "cost", "age", "gateway", "session"), (4, 5, 6, 7, 8)
    )
    for each in said["sessions"]:
        sound = each["input"] if each["input"] == each["output"] else f"{each['input']} → {each['output']}"
        drawn.add_row(
            each["user"] or "anonymous",
            each["door"],
            sound,
            Text(each["state"], style=_STATES.get(each["state"], "")),
            str(each["uplink_waiting"]),
            str(each["downlink_waiting"]),
            "–" if each["latency_ms"] is None else f"{each['latency_ms']} ms",
            f"${float(each['usd']):.4f}{' +' if each['unpriced'] else ''}",
            age(now - each["created_ms"] / 1000),
            each["gateway"] or "–",
            each["id"],
        )
    shown, total = len(said["sessions"]), said["total"]
    return Group(drawn, Text(f"{shown} of {total} live sessions; up and down: entries that wait", style="dim"))


def _gateways(said: Object, now: float) -> Table:
    drawn = _table(("gateway", "connections", "up for", "state"), (1, 2))
    for each in said["gateways"]:
        state = Text("takes none", style="yellow") if each["draining"] else Text("takes clients", style="green")
        drawn.add_row(each["name"], str(each["connections"]), age(now - each["since_ms"] / 1000), state)
    return drawn


def _table(columns: Sequence[str], numbers: Sequence[int]) -> Table:
    drawn = Table(box=None, pad_edge=False)
    for place, column in enumerate(columns):
        drawn.add_column(column, justify="right" if place in numbers else "left", no_wrap=True)
    return drawn


def age(seconds: float) -> str:
    """As a person says it."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
