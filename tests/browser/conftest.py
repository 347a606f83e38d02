"""These tests need a Chromium. Where there is none they are not collected, and one line says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.browser.stage import find_chromium

HERE = Path(__file__).parent
HOW = "Install a Chromium (on Debian: apt-get install -y chromium), or name one in PARLEY_CHROMIUM."

collect_ignore_glob = [] if find_chromium() or os.environ.get("PARLEY_REQUIRE_BROWSER") == "1" else ["test_*.py"]


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The browser's executable."""
    path = find_chromium()
    assert path is not None, f"PARLEY_REQUIRE_BROWSER=1, and there is no Chromium. {HOW}"
    return path
