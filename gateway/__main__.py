"""`python -m gateway`"""

from __future__ import annotations

from gateway.app import run
from gateway.settings import GatewaySettings
from runtime.service import run_service

if __name__ == "__main__":
    run_service("gateway", GatewaySettings, run)
