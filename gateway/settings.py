"""What the gateway reads from the environment."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from gateway.addresses import parse_networks
from gateway.api_keys import ApiKeys
from gateway.consent import Record
from gateway.origins import parse_origins
from runtime.settings import Settings


class GatewaySettings(Settings):
    """The gateway's own variables, on top of those of every service."""

    host: str = Field("127.0.0.1", alias="HOST", description="The address to listen on; `0.0.0.0` for all.")
    port: int = Field(8000, ge=0, le=65535, alias="PORT", description="The port to listen on; 0 = any free one.")
    openai_realtime_model: str = Field(
        "gpt-realtime-2.1",
        alias="OPENAI_REALTIME_MODEL",
        description="The model's name, as the bridge has it: clients of `/v1/realtime` are told.",
    )
    transcription_model: str | None = Field(
        "gpt-transcribe",
        alias="PARLEY_TRANSCRIPTION_MODEL",
        description="The captions' model, as the bridge has it: clients of `/v1/realtime` are told; `none` for none.",
    )
    auth: Literal["required", "contract", "auto", "off"] | None = Field(
        None,
        alias="PARLEY_AUTH",
        description="`required`: a token at every door; `contract`: not at those whose clients carry none; `off`: nobody"
        " is asked; `auto`: `contract` when there is a key, else `off`. Not set: `auto`, but without a key on loopback"
        " only.",
    )
    jwt_secret: SecretStr | None = Field(
        None,
        alias="JWT_SECRET",
        description="The secret of the clients' tokens (HS256), 32 characters or more; while it is rotated several, with"
        " blanks between.",
    )
    jwt_public_key: str | None = Field(
        None,
        alias="PARLEY_JWT_PUBLIC_KEY",
        description="The public key of the clients' tokens (RS256, ES256 or EdDSA): a PEM, a JWK (set), or the path of one.",
    )
    api_keys: SecretStr | None = Field(
        None,
        alias="PARLEY_API_KEYS",
        description="The keys of the app's own backend, 32 characters or more, with blanks between: it may read, steer, end"
        " and forget sessions over `/v1/sessions`. Without one that API is off.",
    )
    admin_keys: SecretStr | None = Field(
        None,
        alias="PARLEY_ADMIN_KEYS",
        description="The keys of operators, 32 characters or more, with blanks between: they may see who talks, end sessions"
        " and drain gateways, at `/admin`. Without one that page is off.",
    )
    listen_keys: SecretStr | None = Field(
        None,
        alias="PARLEY_LISTEN_KEYS",
        description="The keys of those who may also listen to a live session and read what is said in it; others than"
        " PARLEY_ADMIN_KEYS. Without one nobody may.",
    )
    keep_s: float = Field(
        86_400.0,
        ge=0,
        le=30 * 86_400,
        alias="PARLEY_KEEP_S",
        description="As the bridge has it: a gateway keeps the sessions that end before a bridge has heard of them.",
    )
    webhook_url: str | None = Field(
        None, alias="PARLEY_WEBHOOK_URL", description="As the bridge has it: a gateway only looks whether there is one."
    )
    origins: str | None = Field(
        None,
        alias="PARLEY_ORIGINS",
        description="Whose web pages may talk to this server besides its own: `https://app.example.com`, with commas"
        " between.",
    )
    trusted_proxies: str | None = Field(
        None,
        alias="PARLEY_TRUSTED_PROXIES",
        description="Whose `X-Forwarded-For`, `-Proto` and `-Host` are believed: addresses and networks, with commas"
        " between.",
    )
    max_connections_per_user: int = Field(
        20,
        ge=0,
        alias="PARLEY_MAX_CONNECTIONS_PER_USER",
        description="Connections that one user may have at once; 0 = any number.",
    )
    max_connections_per_address: int = Field(
        50,
        ge=0,
        alias="PARLEY_MAX_CONNECTIONS_PER_ADDRESS",
        description="Connections from one address (of IPv6: one /64) at once, but for this machine's own; 0 = any number.",
    )
    max_sessions_per_user: int = Field(
        20,
        ge=0,
        alias="PARLEY_MAX_SESSIONS_PER_USER",
        description="Sessions that one user may have at once, also those that wait for their client; 0 = any number.",
    )
    max_sessions_per_address: int = Field(
        100,
        ge=0,
        alias="PARLEY_MAX_SESSIONS_PER_ADDRESS",
        description="Sessions that were opened from one address, at once; 0 = any number.",
    )
    max_user_day_usd: Decimal = Field(
        Decimal(0),
        ge=0,
        alias="PARLEY_MAX_USER_DAY_USD",
        description="Dollars that one user may use in a day (UTC), as the bridge has it: who has is refused.",
    )
    max_user_day_minutes: float = Field(
        0.0,
        ge=0,
        alias="PARLEY_MAX_USER_DAY_MINUTES",
        description="Minutes of one user's sessions in a day (UTC), as the bridge has it: who has used them is refused.",
    )
    redis_high_water: float = Field(
        0.85,
        ge=0,
        le=1,
        alias="PARLEY_REDIS_HIGH_WATER",
        description="The part of Redis's `maxmemory` from which on no new session is opened (503); 0 = open them all the"
        " same.",
    )
    max_file_bytes: int = Field(
        10 << 20,
        ge=1,
        le=16 << 20,
        alias="PARLEY_MAX_FILE_BYTES",
        description="The largest recording that a client may send, in bytes.",
    )
    grace_s: float = Field(
        60.0,
        gt=0,
        le=600,
        alias="PARLEY_GRACE_S",
        description="Seconds that a session waits for a client that is gone, as the bridge has it.",
    )
    header_timeout_s: float = Field(
        10.0,
        gt=0,
        le=600,
        alias="PARLEY_HEADER_TIMEOUT_S",
        description="How many seconds a client may take to send the head of a request.",
    )
    send_timeout_s: float = Field(
        10.0,
        gt=0,
        le=600,
        alias="PARLEY_SEND_TIMEOUT_S",
        description="How many seconds a client may not read what is sent to it before its connection is dropped.",
    )

    uploads: Path = Field(
        Path("uploads"),
        alias="PARLEY_UPLOADS",
        description="The folder that browsers' recordings are written to; made when it is needed.",
    )
    max_recording_bytes: int = Field(
        512 << 20,
        ge=1,
        alias="PARLEY_MAX_RECORDING_BYTES",
        description="The largest recording that a browser may make, in bytes.",
    )

    record: Record = Field(
        "off",
        alias="PARLEY_RECORD",
        description="Whether both voices of a session are recorded: `off`; `ask`: once somebody says that the user agrees;"
        " `on`: unless somebody says no.",
    )
    recordings: Path = Field(
        Path("recordings"),
        alias="PARLEY_RECORDINGS",
        description="As the transcoder has it: what `/v1/sessions/<id>/recording` gives.",
    )

    @field_validator("transcription_model")
    @classmethod
    def _none(cls, value: str | None) -> str | None:
        return None if value is None or value.strip().lower() in ("", "none") else value

    @field_validator("api_keys", "admin_keys", "listen_keys")
    @classmethod
    def _api_keys(cls, value: SecretStr | None) -> SecretStr | None:
        ApiKeys(value.get_secret_value() if value is not None else "")
        return value

    @model_validator(mode="after")
    def _two_rights(self) -> GatewaySettings:
        """Who may operate does not listen by that."""
        admin, listen = (
            set(value.get_secret_value().split()) if value is not None else set()
            for value in (self.admin_keys, self.listen_keys)
        )
        if admin & listen:
            raise ValueError("a key of PARLEY_LISTEN_KEYS is one of PARLEY_ADMIN_KEYS, too: make another one")
        if listen and not admin:
            raise ValueError("PARLEY_LISTEN_KEYS is set without PARLEY_ADMIN_KEYS: the page to listen at would be off")
        return self

    @field_validator("origins")
    @classmethod
    def _origins(cls, value: str | None) -> str | None:
        parse_origins(value or "")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str | None) -> str | None:
        parse_networks(value or "")
        return value
