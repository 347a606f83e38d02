"""What a bridge reads from the environment."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from realtime_bridge.dialects import DialectName
from realtime_bridge.personas import Personas, is_web_address
from realtime_bridge.signing import signing_keys
from runtime.errors import SettingsError
from runtime.settings import WorkerSettings

OPENAI = "https://api.openai.com/v1"


class BridgeSettings(WorkerSettings):
    openai_base_url: str = Field(
        OPENAI,
        alias="OPENAI_BASE_URL",
        description="Where the model's server is; `/realtime` is appended. `http(s)://` or `ws(s)://`. Azure:"
        " `https://NAME.openai.azure.com`, with `?api-version=…` for its preview.",
    )
    openai_api_key: SecretStr | None = Field(
        None,
        alias="OPENAI_API_KEY",
        description="The key for the model's server. OpenAI's wants one; a server of one's own may not. For Azure, its key"
        " or an Entra token.",
    )
    simulator_url: str | None = Field(
        None,
        alias="PARLEY_SIMULATOR_URL",
        description="Where a simulator is, as `http://127.0.0.1:8765/v1`: it answers while neither `OPENAI_API_KEY` nor"
        " `OPENAI_BASE_URL` is set.",
    )
    openai_realtime_model: str = Field(
        "gpt-realtime-2.1", alias="OPENAI_REALTIME_MODEL", description="The speech-to-speech model."
    )
    dialect: DialectName = Field(
        "auto",
        alias="PARLEY_DIALECT",
        description="`ga` or `beta` (the older names), for a server of whose first word `auto` does not find it out.",
    )
    after_break: Literal["continue", "stop"] = Field(
        "continue",
        alias="PARLEY_AFTER_BREAK",
        description="What becomes of an answer in whose middle the socket to the model broke: the model is asked to"
        " `continue` where the sound ended, or it is left there (`stop`).",
    )
    socket_max_s: float | None = Field(
        None,
        gt=0,
        alias="PARLEY_SOCKET_MAX_S",
        description="Seconds after which a socket to the model is exchanged for a fresh one, in a quiet moment shortly"
        " before. Without it, when the server says that it expires; Azure, where it does not say so, after 1,800.",
    )
    transcription_model: str | None = Field(
        "gpt-transcribe",
        alias="PARLEY_TRANSCRIPTION_MODEL",
        description="The model that writes down what the user says, billed apart; `none` for no captions of the user.",
    )
    personas: Path | None = Field(
        None,
        alias="PARLEY_PERSONAS",
        description="A JSON file of personas, like `deploy/personas.example.json`. Without it there is one, built in.",
    )
    lock_instructions: bool = Field(
        False,
        alias="PARLEY_LOCK_INSTRUCTIONS",
        description="Clients of `/v1/realtime` may change neither instructions nor tools nor voice, and are not told of"
        " them, unless their persona says otherwise (`locked`).",
    )
    tools_url: str | None = Field(
        None,
        alias="PARLEY_TOOLS_URL",
        description="Where the calls of a persona's `tools` are posted that have no `url` of their own.",
    )
    tools_secret: SecretStr | None = Field(
        None,
        alias="PARLEY_TOOLS_SECRET",
        description="What these calls are signed with, after Standard Webhooks: `whsec_` and base64; while it is rotated"
        " several, with blanks between. Needed when a persona has `tools`.",
    )
    tools_timeout_s: float = Field(
        10.0,
        gt=0,
        le=120,
        alias="PARLEY_TOOLS_TIMEOUT_S",
        description="Seconds from a call to its answer, all tries included; then the model is told that there is none.",
    )
    tools_max_bytes: int = Field(
        32_768,
        ge=64,
        le=1 << 20,
        alias="PARLEY_TOOLS_MAX_BYTES",
        description="The largest answer of a function that the model is told. Every later response is billed for it again.",
    )
    tools_at_once: int = Field(
        64, ge=1, alias="PARLEY_TOOLS_AT_ONCE", description="Function calls that one bridge process makes at a time."
    )
    tools_at_once_per_session: int = Field(
        8,
        ge=1,
        alias="PARLEY_TOOLS_AT_ONCE_PER_SESSION",
        description="Function calls that one session makes at a time; more wait.",
    )
    grace_s: float = Field(
        60.0,
        gt=0,
        le=600,
        alias="PARLEY_GRACE_S",
        description="Seconds that a session waits for a client that is gone, before it ends.",
    )
    max_sessions: int = Field(
        100, ge=1, alias="PARLEY_MAX_SESSIONS", description="Conversations that one bridge process takes on at a time."
    )

    keep_s: float = Field(
        86_400.0,
        ge=0,
        le=30 * 86_400,
        alias="PARLEY_KEEP_S",
        description="Seconds that the transcript of a session is kept after its end, for the API; 0 = not at all.",
    )
    webhook_url: str | None = Field(
        None,
        alias="PARLEY_WEBHOOK_URL",
        description="Where the app's backend is told of a session's end, with its transcript: a POST, signed.",
    )
    webhook_secret: SecretStr | None = Field(
        None,
        alias="PARLEY_WEBHOOK_SECRET",
        description="What that is signed with: `whsec_` and base64; while it is rotated several, with blanks between.",
    )
    prices: Path | None = Field(
        None,
        alias="PARLEY_PRICES",
        description="A JSON file of prices, like `realtime_bridge/prices.json`; what it says of a model goes above what is"
        " built in.",
    )
    max_session_usd: Decimal = Field(
        Decimal(0), ge=0, alias="PARLEY_MAX_SESSION_USD", description="Dollars that one session may use; 0 = any number."
    )
    max_session_s: float = Field(
        14_400.0, ge=0, alias="PARLEY_MAX_SESSION_S", description="Seconds that one session may last; 0 = any number."
    )
    max_user_day_usd: Decimal = Field(
        Decimal(0),
        ge=0,
        alias="PARLEY_MAX_USER_DAY_USD",
        description="Dollars that one user may use in a day (UTC), over all sessions; 0 = any number.",
    )
    max_user_day_minutes: float = Field(
        0.0,
        ge=0,
        alias="PARLEY_MAX_USER_DAY_MINUTES",
        description="Minutes that the sessions of one user may last in a day (UTC), in all; 0 = any number.",
    )
    idle_stop_s: float = Field(
        1_800.0,
        ge=0,
        alias="PARLEY_IDLE_STOP_S",
        description="Seconds after which a session ends in which nobody speaks and nothing is answered; 0 = never.",
    )

    @model_validator(mode="before")
    @classmethod
    def _simulated(cls, values: dict[str, Any]) -> dict[str, Any]:
        if (url := values.get("PARLEY_SIMULATOR_URL")) and not values.keys() & {"OPENAI_API_KEY", "OPENAI_BASE_URL"}:
            return {**values, "OPENAI_BASE_URL": url}
        return values

    @field_validator("openai_base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        url = urlsplit(value)
        if url.scheme not in ("http", "https", "ws", "wss") or not url.hostname:
            raise ValueError("it must look like https://api.openai.com/v1 (http, https, ws or wss)")
        return value

    @field_validator("tools_url")
    @classmethod
    def _tools_address(cls, value: str | None) -> str | None:
        if value is not None and not is_web_address(value):
            raise ValueError("it must look like https://backend.example.com/tools")
        return value

    @field_validator("tools_secret", "webhook_secret")
    @classmethod
    def _signs(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            signing_keys(value.get_secret_value())
        return value

    @field_validator("transcription_model")
    @classmethod
    def _none(cls, value: str | None) -> str | None:
        return None if value is None or value.strip().lower() in ("", "none") else value

    @field_validator("webhook_url")
    @classmethod
    def _webhook_address(cls, value: str | None) -> str | None:
        if value is not None and not is_web_address(value):
            raise ValueError("it must look like https://app.example.com/webhooks (http or https)")
        return value

    @model_validator(mode="after")
    def _webhook_is_signed(self) -> Self:
        if self.webhook_url is not None and self.webhook_secret is None:
            raise ValueError(
                "PARLEY_WEBHOOK_URL is set without PARLEY_WEBHOOK_SECRET; make one with"
                " `echo whsec_$(openssl rand -base64 32)`"
            )
        return self

    @model_validator(mode="after")
    def _key_for_openai(self) -> Self:
        if self.openai_api_key is None and urlsplit(self.openai_base_url).hostname == urlsplit(OPENAI).hostname:
            raise ValueError(
                "it has no OPENAI_API_KEY; set it to a key of OpenAI's, or start the simulator (`python -m simulator`) and"
                " set OPENAI_BASE_URL to its address"
            )
        return self

    def load_personas(self) -> Personas:
        """The personas, whose functions can be called. Raises SettingsError, with a sentence that says what to mend."""
        personas = Personas.load(self.personas)
        if (tool := personas.without_address()) is not None and self.tools_url is None:
            raise SettingsError(f'PARLEY_TOOLS_URL is not set, and {tool} has no "url": its calls would have nowhere to go.')
        if any(persona.tools for persona in personas.by_id.values()) and self.tools_secret is None:
            raise SettingsError(
                "PARLEY_TOOLS_SECRET is not set, but there are personas with tools, whose calls are signed with it."
                " Make one with `echo whsec_$(openssl rand -base64 32)`, and tell it to the backend that is called."
            )
        return personas.locked_unless_said(self.lock_instructions)

    @property
    def is_simulated(self) -> bool:
        """Whether the simulator answers because nothing says who else should."""
        return self.openai_api_key is None and self.openai_base_url == self.simulator_url
