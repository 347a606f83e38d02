"""What all tests of bridges have in common."""

from __future__ import annotations

import pytest

from streams import dispatch


@pytest.fixture(autouse=True)
def _has_its_lease_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes these sessions over unasked; and a bridge may be late to renew its lease on a busy machine."""
    monkeypatch.setattr(dispatch, "LEASE_MS", 60_000)
