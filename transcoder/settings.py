"""What the transcoder reads from the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from runtime.settings import WorkerSettings
from transcoder.rendering import Format


class TranscoderSettings(WorkerSettings):
    decoders: int = Field(
        2,
        ge=1,
        le=64,
        alias="PARLEY_DECODERS",
        description="Child processes of a transcoder that decode what clients send; about one a core.",
    )
    stream_decoders: int = Field(
        1,
        ge=1,
        le=64,
        alias="PARLEY_STREAM_DECODERS",
        description="Child processes of a transcoder that decode what clients stream; each holds a hundred of them.",
    )
    decoder_minutes: float = Field(
        10,
        gt=0,
        alias="PARLEY_DECODER_MINUTES",
        description="How long a decoder process is kept before another relieves it.",
    )
    decoder_files: int = Field(
        2000,
        ge=1,
        alias="PARLEY_DECODER_FILES",
        description="How many whole files a decoder process takes before another relieves it.",
    )
    max_sessions: int = Field(
        500,
        ge=1,
        alias="PARLEY_MAX_TRANSCODED_SESSIONS",
        description="Sessions that one transcoder takes on at a time.",
    )
    recordings: Path = Field(
        Path("recordings"),
        alias="PARLEY_RECORDINGS",
        description="Where a transcoder keeps recordings: of calls (`PARLEY_RECORD`), and those that a door asks for. All"
        " transcoders and gateways should have the same folder.",
    )
    record_format: Format = Field(
        "opus",
        alias="PARLEY_RECORD_FORMAT",
        description="What the recording of a call becomes: `opus` (in Ogg, 0.5 MB a minute) or `wav` (5.8 MB).",
    )
    record_days: float = Field(
        30.0,
        ge=0,
        alias="PARLEY_RECORD_DAYS",
        description="How many days the recording of a call is kept; 0 = until somebody deletes it.",
    )
