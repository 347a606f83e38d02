"""What each service process is spared."""

from __future__ import annotations

import subprocess
import sys

_SERVICE = """
import asyncio, gc
from runtime.service import run_service
from runtime.settings import Settings

async def main(settings: Settings, stop: asyncio.Event) -> None:
    print(gc.get_freeze_count(), gc.isenabled())

run_service("test", Settings, main)
"""


def test_the_collector_leaves_out_what_is_loaded_and_goes_on() -> None:
    service = subprocess.run([sys.executable, "-c", _SERVICE], capture_output=True, text=True, timeout=30, check=True)
    frozen, enabled = service.stdout.split()
    assert int(frozen) > 10_000
    assert enabled == "True"
