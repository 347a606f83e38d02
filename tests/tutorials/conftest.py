"""The page's test needs a Chromium. Where there is none, `tests/conftest.py` does not collect it and says so."""

from __future__ import annotations

import pytest

from tests.browser.browsers import HOW, find_chromium


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The browser's executable."""
    path = find_chromium()
    assert path is not None, f"There is no Chromium: {HOW}."
    return path
