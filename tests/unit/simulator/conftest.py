from __future__ import annotations

import pytest

from simulator.options import Options
from tests.unit.simulator.talking import Talk


@pytest.fixture
def instant() -> Talk:
    """A session that answers all at once."""
    return Talk(Options(speed=0))
