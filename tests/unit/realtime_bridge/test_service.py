"""What the sessions of a bridge share."""

from __future__ import annotations

from realtime_bridge.service import _upstream_client


async def test_upstream_sockets_are_not_limited_by_the_http_client() -> None:
    """aiohttp lets a hundred connections be open at a time unless told otherwise: the next session would hang."""
    async with _upstream_client() as client:
        assert client.connector is not None
        assert client.connector.limit == 0
        assert client.connector.limit_per_host == 0
