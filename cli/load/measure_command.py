"""`parley load`: how fast is it, and what does it cost? On a fleet of its own, or on a server that runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import aiohttp
import msgspec
import uvloop
from rich.console import Console
from rich.live import Live

from cli.errors import LoadError
from cli.load import measured_view as view
from cli.load.doors.classes import CLASSES
from cli.load.fleet import fleet
from cli.load.measure import Measured
from cli.load.measuring import Load, Measuring, Watched
from cli.load.page import page
from cli.load.scraped import Scraped

_REFRESH_S = 0.5
_WIDTH = 124
_THINKS = ("--answer", "echo", "--speed", "2", "--delta-ms", "100", "--think", "0.1", "--transcription-delay", "0")
"""The model of our own: it says again what it heard, in tenths of a second, twice as fast as it is heard."""


@dataclass(frozen=True)
class MeasureOptions:
    """As they were typed."""

    urls: tuple[str, ...]
    """of a server that runs, with an echo behind; none for a fleet of our own"""
    metrics: tuple[str, ...]
    """where others than those gateways say what they have used"""
    metrics_token: str | None
    redis_url: str | None
    clients: tuple[str, ...]
    sessions: int
    seconds: float
    ramp_s: float
    think_s: float
    interrupts: float
    seed: int
    each: int
    json: Path | None
    html: Path | None
    log: Path | None


def run(options: MeasureOptions) -> int:
    """0 when all sessions were answered, 1 when not. Raises LoadError, StartError."""
    for client in options.clients:
        if client not in CLASSES:
            raise LoadError(f"There is no client '{client}'; there are {', '.join(CLASSES)}.")
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)
    names = options.clients or ("openai",)
    load = Load(
        clients=tuple(islice(cycle(names), options.sessions or len(names))),
        seconds=options.seconds,
        ramp_s=min(options.ramp_s, options.seconds),
        think_s=options.think_s,
        interrupts=options.interrupts,
        seed=options.seed,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(_measured(load, options, console))
    _show(console, result)
    _write(console, result, options)
    return 0 if all(each.turns and not each.unanswered and not each.troubles for each in result.classes) else 1


async def _measured(load: Load, options: MeasureOptions, console: Console) -> Measured:
    async with _stage(options) as (urls, watched):
        run = Measuring(load, urls, watched)
        going = asyncio.create_task(run.go())
        if not console.is_terminal:
            return await going
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            while not going.done():
                live.update(view.now(run))
                await asyncio.wait({going}, timeout=_REFRESH_S)
        return going.result()


@asynccontextmanager
async def _stage(options: MeasureOptions) -> AsyncIterator[tuple[Sequence[str], Watched | Scraped]]:
    if options.urls:
        async with aiohttp.ClientSession() as http:
            scraped = _scraped(http, options)
            async with aclosing(scraped):
                yield options.urls, scraped
        return
    async with fleet(None, options.each, options.log, answers=_THINKS) as ships:
        yield ships.urls, Watched(ships.pids_by_service())


def _scraped(http: aiohttp.ClientSession, options: MeasureOptions) -> Scraped:
    """Raises LoadError."""
    shown, redis_url = options.metrics_token, options.redis_url
    try:
        return Scraped(http, options.urls, options.metrics, token=shown, redis_url=redis_url)
    except ValueError as error:
        raise LoadError(f"--redis-url is no address of Redis: {error}.") from None


def _show(console: Console, result: Measured) -> None:
    console.print(view.clients(result))
    console.print()
    console.print(view.services(result))
    for each in result.classes:
        for trouble in each.troubles[:5]:
            console.print(f"{each.client}: {trouble}", style="red", soft_wrap=True, markup=False)


def _write(console: Console, result: Measured, options: MeasureOptions) -> None:
    try:
        if options.json is not None:
            options.json.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
            console.print(f"All figures: {options.json}")
        if options.html is not None:
            options.html.write_text(page(result))
            console.print(f"Plots: {options.html}")
    except OSError as error:
        raise LoadError(f"The result cannot be written to {error.filename}: {error.strerror}.") from error
