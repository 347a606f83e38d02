"""Who may come in, as the settings have it. Read once, at start."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gateway.addresses import Network, is_loopback, parse_networks
from gateway.auth import Key, Verifier, public_keys, secret_keys
from gateway.origins import parse_origins
from gateway.settings import GatewaySettings
from runtime.errors import SettingsError

logger = logging.getLogger(__name__)

Mode = Literal["required", "contract", "off"]

OPEN_IN_CONTRACT = frozenset({"mobile", "ios", "recorder"})
"""The doors whose clients in the field carry no token."""

_LONGEST_PATH = 4096


@dataclass(frozen=True, slots=True)
class Policy:
    """What is asked of a caller."""

    mode: Mode = "off"
    verifier: Verifier | None = None
    origins: frozenset[str] = frozenset()
    proxies: tuple[Network, ...] = ()

    def needs_token(self, door: str) -> bool:
        """Whether nobody comes in at this door without one."""
        return self.mode == "required" or (self.mode == "contract" and door not in OPEN_IN_CONTRACT)

    @classmethod
    def of(cls, settings: GatewaySettings) -> Policy:
        """Raises SettingsError: something is wrong with a key, or the settings would let everybody in by accident."""
        keys = _keys(settings)
        by_key: Mode = "contract" if keys else "off"
        mode: Mode = by_key if settings.auth is None or settings.auth == "auto" else settings.auth
        if mode != "off" and not keys:
            raise SettingsError(
                f"PARLEY_AUTH is {mode}, but there is nothing to check tokens with. Set JWT_SECRET (`openssl rand -hex 32`)"
                " or PARLEY_JWT_PUBLIC_KEY, or set PARLEY_AUTH=off to let everybody in."
            )
        if mode == "off" and settings.auth is None and not is_loopback(settings.host):
            raise SettingsError(
                f"HOST is {settings.host or 'every address'}, which others can reach, and there is nothing to check tokens"
                " with. Set JWT_SECRET (`openssl rand -hex 32`) or PARLEY_JWT_PUBLIC_KEY, or set PARLEY_AUTH=off to let"
                " everybody in."
            )
        return cls(
            mode,
            Verifier(keys) if keys else None,
            parse_origins(settings.origins or ""),
            parse_networks(settings.trusted_proxies or ""),
        )


def warn(settings: GatewaySettings, policy: Policy) -> None:
    """Say aloud what an operator should not learn from others."""
    if policy.mode == "off" and not is_loopback(settings.host):
        logger.warning("PARLEY_AUTH IS OFF: EVERYBODY WHO REACHES %s MAY COME IN", settings.host or "THIS MACHINE")


def _keys(settings: GatewaySettings) -> tuple[Key, ...]:
    """Raises SettingsError."""
    keys: tuple[Key, ...] = ()
    try:
        if settings.jwt_secret is not None:
            keys += secret_keys(settings.jwt_secret.get_secret_value())
    except ValueError as error:
        raise SettingsError(f"JWT_SECRET is not usable: {error}.") from None
    try:
        if settings.jwt_public_key is not None:
            keys += public_keys(_text(settings.jwt_public_key))
    except ValueError as error:
        raise SettingsError(f"PARLEY_JWT_PUBLIC_KEY is not usable: {error}.") from None
    return keys


def _text(named: str) -> str:
    """The key itself, or what is in the file of this name. Raises ValueError."""
    if named.lstrip().startswith(("{", "-----BEGIN")) or len(named) > _LONGEST_PATH:
        return named
    try:
        return Path(named).read_text()
    except OSError as error:
        raise ValueError(f"{named} cannot be read ({error.strerror or error})") from None
