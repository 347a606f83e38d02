"""Whether a token is one of ours: keys, algorithms, claims, time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth import LEEWAY_S, Device, Verifier, public_keys, secret_keys
from gateway.errors import InvalidToken, NotAdmitted, WrongTokenType

NOW = 1_800_000_000.0
SECRET, OLD = "s" * 32, "o" * 40
CLAIMS = {"deviceId": "watch-1", "userId": "ann", "type": "device", "iat": NOW, "exp": NOW + 60}
VERIFIER = Verifier(secret_keys(f"{SECRET}\n{OLD}"))

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
PRIVATE: dict[str, Any] = {"RS256": RSA_KEY, "ES256": EC_KEY, "EdDSA": ED_KEY}


def signed(key: Any = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode({**CLAIMS, **claims}, key, algorithm=algorithm)


def pem(algorithm: str) -> str:
    key = PRIVATE[algorithm].public_key()
    return str(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def jwk(algorithm: str) -> dict[str, Any]:
    return dict(jwt.get_algorithm_by_name(algorithm).to_jwk(PRIVATE[algorithm].public_key(), as_dict=True))


def test_it_says_whose_it_is() -> None:
    assert VERIFIER.verify(signed(), NOW) == Device("ann", "watch-1")


def test_several_secrets_are_valid_at_once() -> None:
    """And no other."""
    assert VERIFIER.verify(signed(OLD), NOW).user == "ann"
    with pytest.raises(InvalidToken):
        VERIFIER.verify(signed("x" * 32), NOW)


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_public_keys(algorithm: str) -> None:
    """As a PEM, also in one line; as a JWK and in a set of them."""
    token = signed(PRIVATE[algorithm], algorithm)
    other = jwk("ES256" if algorithm != "ES256" else "RS256")
    key = pem(algorithm)
    for text in (key, key.replace("\n", "\\n"), json.dumps(jwk(algorithm)), json.dumps({"keys": [other, jwk(algorithm)]})):
        assert Verifier(public_keys(text)).verify(token, NOW).user == "ann"
    with pytest.raises(InvalidToken):
        Verifier(public_keys(json.dumps(other))).verify(token, NOW)


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_a_public_key_is_no_secret(algorithm: str) -> None:
    """Everybody has it: what is signed with it by HS256 is signed by nobody."""
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=").decode()
    body = signed().split(".")[1]
    mac = hmac.new(pem(algorithm).encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    forged = f"{head}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    with pytest.raises(InvalidToken):
        Verifier(public_keys(pem(algorithm))).verify(forged, NOW)


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_a_secret_is_for_one_algorithm(algorithm: str) -> None:
    with pytest.raises(InvalidToken):
        Verifier(secret_keys("s" * 64)).verify(signed("s" * 64, algorithm), NOW)


@pytest.mark.parametrize(
    ("claims", "now"),
    [
        ({"exp": NOW - LEEWAY_S}, NOW),
        ({}, NOW + 60 + LEEWAY_S),
        ({}, NOW - LEEWAY_S - 1),
        ({"nbf": NOW + 31}, NOW),
        ({"exp": "soon"}, NOW),
        ({"exp": True}, NOW),
        ({"exp": None}, NOW),
        ({"iat": "then"}, NOW),
        ({"userId": ""}, NOW),
        ({"userId": "a\nb"}, NOW),
        ({"userId": ["ann"]}, NOW),
        ({"userId": "~ann"}, NOW),
        ({"deviceId": None}, NOW),
        ({"deviceId": "d" * 257}, NOW),
    ],
)
def test_what_does_not_hold(claims: dict[str, Any], now: float) -> None:
    with pytest.raises(InvalidToken):
        VERIFIER.verify(signed(**claims), now)


@pytest.mark.parametrize("claims", [{"exp": NOW - LEEWAY_S + 1}, {"iat": NOW + LEEWAY_S}, {"exp": 10**30}, {"extra": {}}])
def test_what_holds(claims: dict[str, Any]) -> None:
    """Clocks differ a little; what is not ours to know is passed over."""
    assert VERIFIER.verify(signed(**claims), NOW).user == "ann"


def test_an_expired_token_of_another_type_is_expired() -> None:
    """What is told first is that it is no token of today."""
    with pytest.raises(InvalidToken):
        VERIFIER.verify(signed(type="session", exp=NOW - 60), NOW)
    with pytest.raises(WrongTokenType):
        VERIFIER.verify(signed(type="session", userId=None), NOW)


def test_the_sentences_are_the_contracts() -> None:
    assert str(InvalidToken()) == "Invalid token"
    assert str(WrongTokenType()) == "Invalid token type"


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")) | st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*"))
def test_nothing_else_is_a_token(text: str) -> None:
    with pytest.raises(NotAdmitted):
        VERIFIER.verify(text, NOW)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=5))
def test_signed_nonsense_is_refused(value: object) -> None:
    """Whatever stands in a claim."""
    for claim in ("exp", "type", "userId", "deviceId"):
        if claim in ("userId", "deviceId") and isinstance(value, str):
            continue
        if claim == "exp" and isinstance(value, int):
            continue
        changed: dict[str, Any] = {claim: value}
        with pytest.raises(NotAdmitted):
            VERIFIER.verify(signed(**changed), NOW)


@pytest.mark.parametrize("text", ["[" * 3000, "{" * 3000, '{"alg":' + "[" * 2900, "\ud800", "a" * 5000])
def test_hostile_heads_are_refused(text: str) -> None:
    """Many brackets exhaust a JSON parser's stack."""
    head = base64.urlsafe_b64encode(text.encode(errors="surrogatepass")).rstrip(b"=").decode()
    for token in (f"{head}.e30.AAAA", text):
        with pytest.raises(InvalidToken):
            VERIFIER.verify(token, NOW)


@pytest.mark.parametrize("secrets", ["", "  ", "short", f"{SECRET} short", "-----BEGIN PUBLIC KEY----- " + "a" * 40])
def test_what_is_no_secret(secrets: str) -> None:
    with pytest.raises(ValueError, match=r"secret"):
        secret_keys(secrets)


def private_pem() -> str:
    return EC_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    "text",
    [
        lambda: "",
        lambda: "{}",
        lambda: "{",
        lambda: "[]",
        lambda: '{"keys": 7}',
        lambda: '{"keys": [7]}',
        lambda: '{"kty":"oct","k":"c2VjcmV0"}',
        lambda: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        private_pem,
    ],
)
def test_what_is_no_public_key(text: Callable[[], str]) -> None:
    with pytest.raises(ValueError, match="public key"):
        public_keys(text())


def test_weak_and_other_keys_are_refused() -> None:
    for key in (rsa.generate_private_key(public_exponent=65537, key_size=1024), ec.generate_private_key(ec.SECP384R1())):
        text = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        with pytest.raises(ValueError, match="P-256"):
            public_keys(text)
