"""Where the model's server is dialled. What happens then is in the integration tests."""

from __future__ import annotations

import pytest

from realtime_bridge.dialects import realtime_url


@pytest.mark.parametrize(
    ("base_url", "model", "url"),
    [
        ("https://api.openai.com/v1", "gpt-realtime-2.1", "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1"),
        ("https://api.openai.com/v1/", "m", "wss://api.openai.com/v1/realtime?model=m"),
        ("http://127.0.0.1:8765/v1", "m", "ws://127.0.0.1:8765/v1/realtime?model=m"),
        ("ws://[::1]:8765/v1", "m", "ws://[::1]:8765/v1/realtime?model=m"),
        (
            "wss://r.openai.azure.com/openai/v1",
            "my deployment/2",
            "wss://r.openai.azure.com/openai/v1/realtime?model=my%20deployment%2F2",
        ),
        ("https://example.com", "m", "wss://example.com/realtime?model=m"),
        ("https://example.com/v1?region=eu#top", "m", "wss://example.com/v1/realtime?region=eu&model=m"),
    ],
)
def test_the_address_is_the_base_and_the_model(base_url: str, model: str, url: str) -> None:
    """http becomes ws, https becomes wss; `/realtime?model=` is appended."""
    assert realtime_url(base_url, model) == url
