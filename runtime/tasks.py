"""What a process is at, for whoever asks it: `kill -USR1 PID` writes its tasks into its log, by name and number."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
from collections import Counter
from collections.abc import Iterable

logger = logging.getLogger(__name__)


def tell_on_signal() -> None:
    """From now on, in this loop."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _tell)


def _tell() -> None:
    names = Counter(map(_name, asyncio.all_tasks()))
    logger.warning("%d tasks: %s", names.total(), ", ".join(counted(names)))


def counted(names: Counter[str]) -> Iterable[str]:
    """The most frequent first."""
    return (name if count == 1 else f"{name} × {count}" for name, count in names.most_common())


def _name(task: asyncio.Task[object]) -> str:
    """Without what tells it from others of its kind; of one that nobody has named, what it runs."""
    name = task.get_name()
    if re.fullmatch(r"Task-\d+", name):
        return getattr(task.get_coro(), "__qualname__", name)
    return re.sub(r" ?\S*(\{[0-9a-f]{32}\}|[0-9a-f]{32})\S*", "", name)
