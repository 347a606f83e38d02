"""PURE. What a refusal, a close code or an HTTP status means: mend the settings, or try again.

OpenAI answers most bad connects in-band: the upgrade succeeds, then one `error` event and a CLOSE follow. Azure and
proxies answer by HTTP status instead. Both end here, in the same two errors.
"""

from __future__ import annotations

from collections.abc import Mapping

from realtime_bridge.errors import UpstreamClosed, UpstreamError, UpstreamRefused, UpstreamUnavailable
from realtime_bridge.server_events import ErrorDetail

RETRYABLE_CLOSE_CODES = frozenset({1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015})
"""The session's time is up or the server goes away (1001), the line broke (1005, 1006, 1015), the server is unwell (1011
to 1014). 1000 is a polite end that we had not asked for: some servers end a session so when its time is up. Not among
them: protocol and policy (1002, 1003, 1007 to 1010), and all from 3000 on, which OpenAI uses for keys and models."""

_KEY = "the key", "check OPENAI_API_KEY"
_MODEL = "the model", "check OPENAI_REALTIME_MODEL"
_ACCOUNT = "the account", "check its billing and limits"

FATAL_CODES: Mapping[str, tuple[str, str]] = {
    "invalid_api_key": _KEY,
    "insufficient_permissions": ("the key", "its permissions do not include Realtime"),
    "invalid_model": _MODEL,
    "missing_model": _MODEL,
    "model_not_found": _MODEL,
    "beta_api_shape_disabled": ("the dialect", "it no longer speaks the older form"),
    "insufficient_quota": _ACCOUNT,
    "billing_hard_limit_reached": _ACCOUNT,
    "account_deactivated": _ACCOUNT,
}
"""`error.code`s that no later try will mend, whenever they come: what is refused, and what to do."""

TRANSIENT_CODES = frozenset({"rate_limit_exceeded", "inference_rate_limit_exceeded", "server_error", "session_expired"})
"""`error.code`s (or types) that a later try may not meet again."""

SERVER_ERROR = "server_error"
"""The `error.type` of what is not our mistake."""

EXPIRED = "session_expired"
"""The `error.code` of some servers when a session's time is up; others only close."""

BENIGN_CODES = frozenset(
    {
        "response_cancel_not_active",
        "input_audio_buffer_commit_empty",
        "item_truncate_invalid_item_id",
        "item_delete_invalid_item_id",
        "unsupported_content_type",
    }
)
"""`error.code`s of races that both sides come out of by themselves: cancelling what is done, deleting what is gone."""

_REFUSED_BY_CLOSE = {3000: _KEY, 4004: _MODEL}
_REFUSED_BY_STATUS = {401: _KEY, 403: _KEY, 404: ("the address", "check OPENAI_BASE_URL and OPENAI_REALTIME_MODEL")}
_RETRYABLE_STATUSES = frozenset({408, 425, 429})
_LONGEST_QUOTE = 200


def of_hangup(closed: UpstreamClosed | None, told: ErrorDetail | None) -> UpstreamError:
    """Why there is no session: the socket was `closed` (None: it is still open, and silent) after an `error` had `told` us
    something, or nothing."""
    code = _code(closed, told)
    if code in FATAL_CODES:
        return _refused(code, *FATAL_CODES[code])
    if told and (told.code in TRANSIENT_CODES or told.type in TRANSIENT_CODES):
        return UpstreamUnavailable(code, f"The model's server has no session for us now ({code}).")
    if closed and closed.close_code in _REFUSED_BY_CLOSE:
        return _refused(code, *_REFUSED_BY_CLOSE[closed.close_code])
    if closed and closed.retryable:
        return UpstreamUnavailable(code, f"The model's server hung up before the session began ({code}).")
    words = f": {told.message[:_LONGEST_QUOTE]}" if told and told.message else "."
    return UpstreamRefused(code, f"The model's server refused the connection ({code}){words}")


def of_status(status: int, headers: Mapping[str, str]) -> UpstreamError:
    """What an HTTP answer other than the upgrade means. `headers` are the answer's, in any case that HTTP permits."""
    code = f"http_{status}"
    if status in _RETRYABLE_STATUSES or status >= 500:
        busy = "is busy" if status == 429 else "is not well"
        return UpstreamUnavailable(code, f"The model's server {busy} (HTTP {status}).", _retry_after_s(headers))
    if status in _REFUSED_BY_STATUS:
        return _refused(f"HTTP {status}", *_REFUSED_BY_STATUS[status], code=code)
    if 400 <= status < 500:
        return UpstreamRefused(code, f"The model's server refused the connection (HTTP {status}).")
    return UpstreamRefused(
        code, f"What answers at OPENAI_BASE_URL does not speak WebSocket (HTTP {status}): check OPENAI_BASE_URL."
    )


def closed(close_code: int, reason: str = "") -> UpstreamClosed:
    """The socket closed, by a CLOSE of the server's or by a broken line (1006)."""
    return UpstreamClosed(close_code, reason, retryable=close_code in RETRYABLE_CLOSE_CODES)


def _code(closed: UpstreamClosed | None, told: ErrorDetail | None) -> str:
    if told and told.code:
        return told.code
    named = closed.reason.rpartition(".")[2] if closed else ""  # a CLOSE repeats the error: <error.type>.<error.code>
    if named in FATAL_CODES:
        return named
    if told:
        return told.type or "error"
    return closed.code if closed else "silent"


def _refused(shown: str, what: str, advice: str, *, code: str | None = None) -> UpstreamRefused:
    """Without upstream's own words: about keys, a careless server might quote one."""
    return UpstreamRefused(code or shown, f"The model's server refused {what} ({shown}): {advice}.")


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks for; None when it does not, or names a date instead (nobody has been seen to)."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = next((each for key, each in headers.items() if key.lower() == name), "")
        if value.isascii() and value.isdecimal():
            return int(value) * unit_s
    return None
