"""`python -m realtime_bridge`: settings → run; nothing else."""

from __future__ import annotations

from realtime_bridge.service import serve
from realtime_bridge.settings import BridgeSettings
from runtime.service import run_service

if __name__ == "__main__":
    run_service("realtime_bridge", BridgeSettings, serve)
