"""PURE. Signed requests to the app's own backend, after Standard Webhooks 1.0.0. The time is an argument.

What a receiver checks: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"

MIN_KEY_BYTES, MAX_KEY_BYTES = 24, 64
"""The specification's."""


def signing_keys(secrets: str) -> tuple[bytes, ...]:
    """Of a setting: one secret or, while they are rotated, several with blanks between. Raises ValueError, a sentence."""
    keys = tuple(_key(secret) for secret in secrets.split())
    if not keys:
        raise ValueError(_SENTENCE)
    return keys


_SENTENCE = (
    "a secret must be `whsec_` and the base64 of 24 to 64 bytes, and several have blanks between;"
    " make one with `echo whsec_$(openssl rand -base64 32)`"
)


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(PREFIX) or not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ValueError(_SENTENCE)
    return key


def signed_headers(message_id: str, timestamp: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """What goes out with a body. `message_id` is the same for every attempt at one message; `timestamp`, in seconds since
    1970, is this attempt's. Each of the keys signs."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
