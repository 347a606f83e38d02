"""What `parley up` and `parley doctor` read from the environment."""

from __future__ import annotations

from pydantic import Field, SecretStr

from runtime.settings import Settings


class CommandSettings(Settings):
    """The settings of the services that the command line has to know too."""

    host: str = Field("127.0.0.1", alias="HOST", description="The address that the gateway listens on.")
    port: int = Field(8000, ge=0, le=65535, alias="PORT", description="The port that the gateway listens on.")
    openai_api_key: SecretStr | None = Field(None, alias="OPENAI_API_KEY", description="The key for the model.")
    openai_base_url: str | None = Field(None, alias="OPENAI_BASE_URL", description="Where the model is.")
    auth: str | None = Field(None, alias="PARLEY_AUTH", description="Who is asked for a token.")
    jwt_secret: SecretStr | None = Field(None, alias="JWT_SECRET", description="The secret of the clients' tokens.")

    admin_keys: SecretStr | None = Field(None, alias="PARLEY_ADMIN_KEYS", description="The keys of operators.")
    listen_keys: SecretStr | None = Field(None, alias="PARLEY_LISTEN_KEYS", description="The keys of those who may listen.")

    @property
    def own_server(self) -> bool:
        """Whether we start the Redis server ourselves."""
        return "redis_url" not in self.model_fields_set


def http_url(host: str, port: int) -> str:
    """Where a client on this machine reaches what listens on `host`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
