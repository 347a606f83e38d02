"""A process says what it is at."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter

import pytest

from runtime.tasks import counted, tell_on_signal


async def test_a_signal_has_all_tasks_written_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Those of sessions as one; those without a name by what they run."""
    tell_on_signal()
    sids = [f"{number:032x}" for number in range(3)]
    tasks = [asyncio.create_task(asyncio.sleep(60), name=f"session {sid}") for sid in sids]
    tasks.append(asyncio.create_task(asyncio.sleep(60), name=f"streams.producer parley:{{{sids[0]}}}:up"))
    tasks.append(asyncio.create_task(asyncio.sleep(60)))
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        async with asyncio.timeout(5):
            while not caplog.records:  # noqa: ASYNC110 - a signal
                await asyncio.sleep(0.01)
        (said,) = (record.getMessage() for record in caplog.records)
        found = re.match(r"(\d+) tasks: ", said)
        assert found is not None
        assert int(found[1]) == len(asyncio.all_tasks())
        assert "session × 3" in said
        assert "streams.producer" in said
        assert "sleep" in said
        assert not any(sid in said for sid in sids)
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def test_the_most_frequent_stands_first() -> None:
    assert list(counted(Counter(a=1, b=3))) == ["b × 3", "a"]
