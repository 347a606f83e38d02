"""What the gateway reads from the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

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
    jwt_secret: SecretStr | None = Field(
        None,
        alias="JWT_SECRET",
        description="The secret of the clients' tokens. This version does not check tokens yet, and says so when it is set.",
    )
    max_file_bytes: int = Field(
        10 << 20,
        ge=1,
        le=16 << 20,
        alias="PARLEY_MAX_FILE_BYTES",
        description="The largest recording that a client may send, in bytes.",
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

    @field_validator("transcription_model")
    @classmethod
    def _none(cls, value: str | None) -> str | None:
        return None if value is None or value.strip().lower() in ("", "none") else value
