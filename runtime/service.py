"""A service process: settings, logs, event loop, signals, readiness, one clear sentence when it cannot start."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import uvloop

from runtime import logs, traces
from runtime.child import die_with_parent
from runtime.errors import ParleyError
from runtime.notify import stopping
from runtime.settings import Settings
from runtime.tasks import tell_on_signal

S = TypeVar("S", bound=Settings)

YOUNG_OBJECTS = 10_000
"""So many more than were given up, and the youngest are looked through for garbage. A frame makes hundreds of objects, and
next to none of them is garbage that only the collector finds; Python's own 700 are for programs that make more of it."""

logger = logging.getLogger(__name__)


def run_service(name: str, settings_class: type[S], main: Callable[[S, asyncio.Event], Awaitable[None]]) -> None:
    """Run `main(settings, stop)` until it returns; SIGTERM and SIGINT set `stop`. Never returns: exits the process.

    `main` calls `runtime.notify.ready()` when it takes work and, once `stop` is set, closes what it opened and returns.
    A ParleyError ends the process with its sentence on standard error and exit code 1.
    """
    if os.environ.get("PARLEY_PARENT_PID"):
        die_with_parent()
    try:
        settings = settings_class.load()
        logs.configure(settings.log_level, settings.log_format)
        traces.configure(name, settings.traces)
        _leave_out_what_is_loaded()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_stopped(name, settings, main))
    except ParleyError as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    except BaseExceptionGroup as group:
        known, unknown = group.split(ParleyError)
        if unknown is not None or known is None:
            raise
        print(f"{name}: {_leaves(known)[0]}", file=sys.stderr, flush=True)
        sys.exit(1)
    finally:
        traces.close()
    sys.exit(0)


def _leave_out_what_is_loaded() -> None:
    """Modules live as long as the process: to look through them for garbage takes 30 ms, in which nobody hears anything."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return leaves


async def _until_stopped(name: str, settings: S, main: Callable[[S, asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, stop.set)
    tell_on_signal()
    logger.info("%s starts (pid %d)", name, os.getpid())
    await main(settings, stop)
    stopping()
    logger.info("%s has stopped", name)
