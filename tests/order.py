"""In which order the files of the suite are begun, and by how many workers: it is waiting, most of it, and not work.

`make test` hands whole files to workers (`--dist loadfile --no-loadscope-reorder`), in the order in which they are
collected. A long file that is begun last is what everybody waits for at the end, so that the longest ones come first.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LONGEST_FIRST = (
    "tests/browser/test_voice.py",
    "tests/acceptance/test_promises.py",
    "tests/integration/realtime_bridge/test_breaks.py",
    "tests/acceptance/test_takeover.py",
    "tests/acceptance/test_spoken_turn.py",
    "tests/integration/transcoder/test_files.py",
    "tests/acceptance/test_idle.py",
    "tests/acceptance/test_doors.py",
    "tests/contract/doors/test_mobile_coded.py",
    "tests/integration/redis_faults/test_sentinel.py",
    "tests/integration/realtime_bridge/test_continuity.py",
    "tests/acceptance/test_run.py",
    "tests/acceptance/test_deploys.py",
    "tests/acceptance/test_overload.py",
    "tests/acceptance/balancers/test_drains.py",
)
"""Files of half a minute and more, by what `pytest --durations=0` said of them. All others as they are collected: from
`acceptance` to `unit`, and so the quickest last."""


def workers() -> int:
    """Half as many again as there are cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return -(-cores * 3 // 2)


def longest_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Files in the order above; the tests of a file in their own."""
    places = {ROOT / name: place for place, name in enumerate(LONGEST_FIRST)}
    return sorted(items, key=lambda item: places.get(item.path, len(places)))
