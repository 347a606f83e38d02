"""`parley token`: mint a device token for development. In the field another service does."""

from __future__ import annotations

import time
import uuid

import jwt

from cli.errors import TokenError
from cli.settings import CommandSettings

DAY_S = 86_400
_CHECK_S = 300


def mint(secret: str, user: str, device: str, now: float, lasts_s: float) -> str:
    """A token of this user's device, signed with HS256. `now`: seconds since 1970."""
    claims = {"deviceId": device, "userId": user, "type": "device", "iat": int(now), "exp": int(now + lasts_s)}
    return jwt.encode(claims, secret, algorithm="HS256")


def token_for_check(settings: CommandSettings) -> str | None:
    """What the self-check shows to the gateway that has just started; None when it asks for nothing, or has no secret."""
    if settings.jwt_secret is None or settings.auth == "off":
        return None
    return mint(settings.jwt_secret.get_secret_value().split()[0], "self-check", "parley-up", time.time(), _CHECK_S)


def run(user: str | None, device: str | None, days: float) -> str:
    """The command. Who is not named is random. Raises TokenError, SettingsError."""
    from gateway.auth import secret_keys  # the rest of this file is for `parley up`, which needs nothing of the gateway's

    settings = CommandSettings.load()
    if settings.jwt_secret is None:
        raise TokenError("JWT_SECRET is not set: it must be the gateway's. Make one with `openssl rand -hex 32`.")
    secrets = settings.jwt_secret.get_secret_value()
    try:
        secret_keys(secrets)
    except ValueError as error:
        raise TokenError(f"JWT_SECRET is not usable: {error}.") from None
    return mint(secrets.split()[0], user or f"{uuid.uuid4()}", device or f"{uuid.uuid4()}", time.time(), days * DAY_S)
