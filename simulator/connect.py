"""PURE. Who may open a session: decided from the headers and the query of the upgrade request.

A refusal is told in-band: the upgrade is accepted, one `error` event is sent, and the socket is closed with
`<error.type>[.<error.code>]` as the reason.
"""

from __future__ import annotations

from collections.abc import Mapping

from simulator.errors import Refused
from simulator.options import Options

BROWSER_KEY = "openai-insecure-api-key."
"""Prefix of the subprotocol in which a browser, which cannot set headers, hands over its key."""


class ConnectionRefused(Refused):
    """Answered by its event and a close: a client is not to try again as it is."""

    close_code = 4000

    @property
    def reason(self) -> str:
        return self.type if self.code is None else f"{self.type}.{self.code}"


class NoKey(ConnectionRefused):
    close_code = 3000

    def __init__(self) -> None:
        super().__init__("Missing bearer authentication in header.")


class WrongKey(ConnectionRefused):
    code = "invalid_api_key"
    close_code = 3000

    def __init__(self) -> None:
        super().__init__("Incorrect API key provided.")


class BetaShape(ConnectionRefused):
    code = "beta_api_shape_disabled"

    def __init__(self) -> None:
        super().__init__("The beta shape of the Realtime API is disabled; do not send the OpenAI-Beta header.")


class NoModel(ConnectionRefused):
    code = "missing_model"

    def __init__(self) -> None:
        super().__init__("You must provide a model parameter.", "model")


class NoSuchModel(ConnectionRefused):
    code = "invalid_model"

    def __init__(self, model: str) -> None:
        super().__init__(f"Model '{model}' is not supported in realtime mode.", "model")


def admit(options: Options, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """The model of the session. Raises ConnectionRefused. `headers` ignores case, as HTTP does."""
    if options.api_key is not None:
        key = _key(headers)
        if key is None:
            raise NoKey
        if key != options.api_key:
            raise WrongKey
    if "OpenAI-Beta" in headers and options.dialect == "ga":
        raise BetaShape
    model = query.get("deployment" if options.dialect == "azure-preview" else "model")
    if not model:
        raise NoModel
    if options.models and model not in options.models:
        raise NoSuchModel(model)
    return model


def status(refused: ConnectionRefused) -> int:
    """How Azure refuses: before the upgrade."""
    return 401 if refused.close_code == 3000 else 404


def may_control(options: Options, headers: Mapping[str, str]) -> bool:
    """Whether a request may ask what was received, or plan faults: the key of the sessions opens this too."""
    return options.api_key is None or _key(headers) == options.api_key


def _key(headers: Mapping[str, str]) -> str | None:
    if "api-key" in headers:
        return headers["api-key"]
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key:
        return key.strip()
    protocols = [each.strip() for each in headers.get("Sec-WebSocket-Protocol", "").split(",")]
    return next((each.removeprefix(BROWSER_KEY) for each in protocols if each.startswith(BROWSER_KEY)), None)
