"""What a refusal means, and what it says to the person who has to mend it."""

from __future__ import annotations

import pytest

from realtime_bridge import verdicts
from realtime_bridge.errors import UpstreamClosed, UpstreamRefused, UpstreamUnavailable
from realtime_bridge.server_events import ErrorDetail

INVALID = "invalid_request_error"


def told(code: str | None, message: str = "…", type_: str = INVALID) -> ErrorDetail:
    return ErrorDetail(type=type_, code=code, message=message)


@pytest.mark.parametrize(
    ("code", "close_code", "sentence"),
    [
        ("invalid_api_key", 3000, "The model's server refused the key (invalid_api_key): check OPENAI_API_KEY."),
        (None, 3000, "The model's server refused the key (invalid_request_error): check OPENAI_API_KEY."),
        (
            "insufficient_permissions",
            3000,
            "The model's server refused the key (insufficient_permissions): its permissions do not include Realtime.",
        ),
        ("invalid_model", 4000, "The model's server refused the model (invalid_model): check OPENAI_REALTIME_MODEL."),
        ("model_not_found", 4004, "The model's server refused the model (model_not_found): check OPENAI_REALTIME_MODEL."),
        ("missing_model", 4000, "The model's server refused the model (missing_model): check OPENAI_REALTIME_MODEL."),
        (
            "beta_api_shape_disabled",
            4000,
            "The model's server refused the dialect (beta_api_shape_disabled): it no longer speaks the older form.",
        ),
        (
            "insufficient_quota",
            1013,
            "The model's server refused the account (insufficient_quota): check its billing and limits.",
        ),
        ("who_knows", 4000, "The model's server refused the connection (who_knows): …"),
    ],
)
def test_in_band_refusals_are_final(code: str | None, close_code: int, sentence: str) -> None:
    """An error event and a close, as OpenAI refuses."""
    verdict = verdicts.of_hangup(verdicts.closed(close_code), told(code))
    assert isinstance(verdict, UpstreamRefused)
    assert (verdict.code, str(verdict)) == (code or INVALID, sentence)
    assert not verdict.retryable


def test_the_close_reason_alone_is_enough() -> None:
    """The reason of a CLOSE repeats the code of the error, for whom that did not reach."""
    verdict = verdicts.of_hangup(verdicts.closed(4000, "invalid_request_error.invalid_model"), None)
    assert isinstance(verdict, UpstreamRefused)
    assert verdict.code == "invalid_model"


@pytest.mark.parametrize(
    ("close_code", "detail"),
    [
        (1011, None),
        (1006, None),
        (1000, None),
        (1013, told("rate_limit_exceeded")),
        (4000, told("rate_limit_exceeded")),
        (4000, told(None, type_="server_error")),
        (None, told("session_expired")),
    ],
)
def test_a_server_without_room_may_have_some_later(close_code: int | None, detail: ErrorDetail | None) -> None:
    """Broken lines and transient codes, whatever the close code."""
    verdict = verdicts.of_hangup(None if close_code is None else verdicts.closed(close_code), detail)
    assert isinstance(verdict, UpstreamUnavailable)
    assert verdict.retryable


def test_a_refused_key_is_not_quoted() -> None:
    """A careless server's message may hold the key."""
    for verdict in (
        verdicts.of_hangup(verdicts.closed(3000), told("invalid_api_key", "Incorrect API key provided: sk-secret")),
        verdicts.of_hangup(verdicts.closed(3000), told(None, "Incorrect API key provided: sk-secret")),
    ):
        assert "sk-secret" not in str(verdict)


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "The model's server refused the key (HTTP 401): check OPENAI_API_KEY."),
        (403, "The model's server refused the key (HTTP 403): check OPENAI_API_KEY."),
        (
            404,
            "The model's server refused the address (HTTP 404): check OPENAI_BASE_URL and OPENAI_REALTIME_MODEL.",
        ),
        (400, "The model's server refused the connection (HTTP 400)."),
        (200, "What answers at OPENAI_BASE_URL does not speak WebSocket (HTTP 200): check OPENAI_BASE_URL."),
    ],
)
def test_http_refusals_are_final(status: int, sentence: str) -> None:
    """A status before the upgrade, as Azure and proxies refuse."""
    verdict = verdicts.of_status(status, {})
    assert isinstance(verdict, UpstreamRefused)
    assert (verdict.code, str(verdict)) == (f"http_{status}", sentence)


@pytest.mark.parametrize(
    ("headers", "expected_s"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
        ({"Retry-After": "Fri, 20 Nov 2026 08:00:00 GMT"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "²"}, None),
    ],
)
def test_a_busy_server_may_name_a_time(headers: dict[str, str], expected_s: float | None) -> None:
    """Seconds or milliseconds; what is neither counts as not said."""
    verdict = verdicts.of_status(429, headers)
    assert isinstance(verdict, UpstreamUnavailable)
    assert verdict.retry_after_s == expected_s


def test_a_close_in_mid_session_tells_its_code_and_reason() -> None:
    """The sentence has both; the code is one word for machines."""
    closed = verdicts.closed(1001, "maximum duration")
    assert isinstance(closed, UpstreamClosed)
    assert (closed.code, closed.retryable) == ("close_1001", True)
    assert str(closed) == "The model's server closed the connection (code 1001, maximum duration)."
    assert str(verdicts.closed(1006)) == "The model's server closed the connection (code 1006)."
