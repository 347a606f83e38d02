"""What several tests of the transcoder need."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from transcoder.sandbox import DecoderPool


@pytest.fixture
async def pool() -> AsyncIterator[DecoderPool]:
    """One decoder child; `test_pool.py` has more."""
    async with DecoderPool(1) as pool:
        yield pool
