"""PURE. Whether a device token is one of ours, and whose it is. Time is an argument.

A token is a JWT: `{"deviceId", "userId", "type": "device", "iat", "exp"}`. Another service mints them. Which algorithm a key
is good for follows from the key, never from the token's header: so nobody signs with our public key as if it were a secret,
and nobody signs with none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.errors import InvalidToken, WrongTokenType

LEEWAY_S = 30
"""By how much the clock of whoever minted a token may differ from ours."""

MAX_TOKEN_CHARS = 4096
"""Ours have some 300."""

MAX_ID_CHARS = 256

MIN_SECRET_BYTES = 32
"""RFC 7518, 3.2. A shorter one can be found by trying, from any one token."""

MIN_RSA_BITS = 2048

NOT_SHOWN = "~"
"""Begins the name of whoever has not shown who they are, where others do. No user's id begins so."""

Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]


@dataclass(frozen=True, slots=True)
class Key:
    """What a token may be signed with, and the one algorithm that it is for."""

    material: Any
    algorithm: Algorithm


@dataclass(frozen=True, slots=True)
class Device:
    """Whoever a token was given to."""

    user: str
    device: str
    record: bool | None = None
    """whether the user agrees to be recorded; None: the token does not say"""


class _Claims(msgspec.Struct):
    """As they stand there; nothing is said about what they hold."""

    type: Any = None
    userId: Any = None  # noqa: N815 - the contract's
    deviceId: Any = None  # noqa: N815
    exp: Any = None
    iat: Any = None
    nbf: Any = None
    record: Any = None


class Verifier:
    """Knows the keys that are valid at the moment: while they are rotated, several."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = tuple(keys)
        self._jws = jwt.PyJWS()

    def verify(self, token: str, now: float) -> Device:
        """Whose it is. `now`: seconds since 1970. Raises InvalidToken, WrongTokenType."""
        claims = self._signed(token)
        if not _lasts(claims, now):
            raise InvalidToken
        if claims.type != "device":
            raise WrongTokenType
        if not (_is_id(claims.userId) and _is_id(claims.deviceId)) or claims.userId.startswith(NOT_SHOWN):
            raise InvalidToken
        return Device(claims.userId, claims.deviceId, claims.record if isinstance(claims.record, bool) else None)

    def _signed(self, token: str) -> _Claims:
        if len(token) > MAX_TOKEN_CHARS:
            raise InvalidToken
        for key in self._keys:
            try:
                payload = self._jws.decode(token, key.material, algorithms=[key.algorithm])
                return msgspec.json.decode(payload, type=_Claims)
            except (jwt.PyJWTError, ValueError, RecursionError):  # a header of many brackets is the last
                continue
        raise InvalidToken


def _lasts(claims: _Claims, now: float) -> bool:
    """`exp` must be there; the others need not, but what they say holds."""
    if not _is_number(claims.exp) or now >= claims.exp + LEEWAY_S:
        return False
    return all(begin is None or (_is_number(begin) and begin <= now + LEEWAY_S) for begin in (claims.iat, claims.nbf))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARS and value.isprintable()


def secret_keys(secrets: str) -> tuple[Key, ...]:
    """Of JWT_SECRET: one secret or, while they are rotated, several with blanks between. Raises ValueError, a sentence."""
    if not secrets.strip() or secrets.lstrip().startswith("-----BEGIN"):
        raise ValueError("this is no secret; a public key goes to PARLEY_JWT_PUBLIC_KEY")
    keys = tuple(Key(secret.encode(), "HS256") for secret in secrets.split())
    if any(len(key.material) < MIN_SECRET_BYTES for key in keys):
        sentence = f"a secret must have at least {MIN_SECRET_BYTES} characters, and several have blanks between"
        raise ValueError(f"{sentence}; make one with `openssl rand -hex 32`")
    return keys


def public_keys(text: str) -> tuple[Key, ...]:
    """Of a PEM, a JWK or a JWK set. Raises ValueError, a sentence."""
    try:
        if text.lstrip().startswith("{"):
            document = json.loads(text)
            found: list[Any] = [jwt.PyJWK.from_dict(jwk).key for jwk in document.get("keys", [document])]
        else:
            found = [load_pem_public_key(text.replace("\\n", "\n").encode())]
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, UnsupportedAlgorithm):
        raise ValueError("it must hold the PEM or the JWK of a public key, or be the path of a file that does") from None
    return tuple(Key(key, _algorithm(key)) for key in found)


def _algorithm(key: object) -> Algorithm:
    match key:
        case RSAPublicKey(key_size=bits) if bits >= MIN_RSA_BITS:
            return "RS256"
        case EllipticCurvePublicKey(curve=SECP256R1()):
            return "ES256"
        case Ed25519PublicKey():
            return "EdDSA"
    raise ValueError("it must be a public key of RSA (2048 bits or more), of the curve P-256, or of Ed25519")
