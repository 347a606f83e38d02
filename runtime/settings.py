"""Settings: read from the environment once, checked at start, frozen afterwards.

Each service declares its own class on top of `Settings`; a field's `alias` is the environment variable, its `description`
is the line in the README's table (a test holds the two together).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.errors import SettingsError

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class Settings(BaseSettings):
    """What every process needs."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, case_sensitive=True, hide_input_in_errors=True
    )

    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        alias="REDIS_URL",
        description="The Redis or Valkey server, the Sentinels that know it, or a Cluster. `make run` starts one of its own"
        " when this is not set.",
    )
    log_level: LogLevel = Field("INFO", alias="LOG_LEVEL", description="`DEBUG`, `INFO`, `WARNING` or `ERROR`.")
    log_format: Literal["text", "json"] = Field(
        "text", alias="PARLEY_LOG_FORMAT", description="`text` for people, `json` for machines: a record a line."
    )

    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        alias="PARLEY_METRICS_PORT",
        description="The port at which a process gives its metrics, at `/metrics`; 0 = any free one. `parley up` counts from"
        " here. Not set: a gateway gives them at its own port, to this machine only; other services give none.",
    )
    metrics_host: str = Field(
        "127.0.0.1", alias="PARLEY_METRICS_HOST", description="The address that belongs to `PARLEY_METRICS_PORT`."
    )
    metrics_token: SecretStr | None = Field(
        None,
        min_length=16,
        alias="PARLEY_METRICS_TOKEN",
        description="Who asks for metrics shows this as a bearer token, 16 characters or more; a gateway without a port for"
        " them then gives them to other machines, too.",
    )

    traces: str | None = Field(
        None,
        alias="PARLEY_TRACES",
        description="`otlp` sends OpenTelemetry traces, one a session, to where `OTEL_EXPORTER_OTLP_ENDPOINT` says;"
        " `file:` and a path writes them there. Needs `parley[otel]`.",
    )

    drain_s: float = Field(
        5.0,
        ge=0,
        le=3600,
        alias="PARLEY_DRAIN_S",
        description="Seconds over which a gateway sends its clients to others, and a bridge hands its sessions over, each in"
        " a quiet moment if there is one, when they are told to stop. `parley up` has it at 0 unless it is set.",
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("traces")
    @classmethod
    def _traces(cls, value: str | None) -> str | None:
        if value is not None and value != "otlp" and not value.removeprefix("file:").startswith("/"):
            raise ValueError("must be `otlp`, or `file:` with an absolute path, such as file:/tmp/traces.jsonl")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_scheme(cls, value: str) -> str:
        if urlsplit(value).scheme.replace("rediss", "redis") not in ("redis", "unix", "redis+sentinel", "redis+cluster"):
            raise ValueError(
                "must look like redis://host:6379/0, rediss://… (TLS), unix:///path/to/socket,"
                " redis+sentinel://host:26379,host:26379/mymaster or redis+cluster://host:6379"
            )
        return value

    @classmethod
    def load(cls) -> Self:
        """Read and check the environment. Raises SettingsError with one sentence for each wrong value."""
        try:
            return cls()
        except ValidationError as error:
            raise SettingsError("\n".join(_sentence(e["loc"], e["msg"]) for e in error.errors())) from None


class WorkerSettings(Settings):
    """What a process without a port needs besides: there is nothing on it that a health check could ask."""

    heartbeat: Path | None = Field(
        None,
        alias="PARLEY_HEARTBEAT",
        description="A file that a transcoder or bridge touches every second or two, while Redis answers it.",
    )


def _sentence(loc: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    name = str(loc[0]) if loc else "the environment"
    return f"{name} is not usable: {message[:1].lower()}{message[1:]}."
