"""Signed requests to the app's backend, after Standard Webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from realtime_bridge.signing import signed_headers, signing_keys

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_signs_as_the_reference_libraries_do() -> None:
    """The example that the libraries of Standard Webhooks test themselves with."""
    body = b'{"test": 2432232314}'
    headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body, signing_keys(SECRET))
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_signs_the_body_as_bytes() -> None:
    """What was sent is signed, whatever is in it."""
    (key,) = signing_keys(SECRET)
    body = "Grüße \N{GRINNING FACE}".encode() + b"\x00\xff"
    signature = signed_headers("id", 7, body, [key])["webhook-signature"]
    expected = hmac.new(key, b"id.7." + body, hashlib.sha256).digest()
    assert signature == "v1," + base64.b64encode(expected).decode()


def test_signs_with_every_key_while_they_are_rotated() -> None:
    """A receiver that knows one of the two secrets accepts."""
    old, new = signing_keys(f"{SECRET} whsec_{base64.b64encode(bytes(range(32))).decode()}")
    both = signed_headers("id", 7, b"{}", [old, new])["webhook-signature"].split(" ")
    assert both == [signed_headers("id", 7, b"{}", [key])["webhook-signature"] for key in (old, new)]


@pytest.mark.parametrize(
    "wrong",
    ["", "   ", "secret", "whsec_", "whsec_!!!!", SECRET + " other", SECRET.removeprefix("whsec_")]
    + ["whsec_" + base64.b64encode(bytes(n)).decode() for n in (23, 65)],
)
def test_says_what_a_secret_looks_like(wrong: str) -> None:
    """A secret that a receiver's library would read otherwise is refused at the start."""
    with pytest.raises(ValueError, match="openssl rand -base64 32"):
        signing_keys(wrong)
