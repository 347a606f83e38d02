"""Who comes in, and to what: tokens, the keys of the app's backend, pages of other origins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from gateway.errors.kinds import RequestRefused


class NotAdmitted(RequestRefused):
    """Nobody comes in like this."""

    status = 401
    close_code: ClassVar[int] = 1008

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": "Bearer"} if self.status == 401 else super().headers


class NoToken(NotAdmitted):
    """Authentication required"""

    code = "no_token"


class NoApiKey(NotAdmitted):
    """This is for the app's backend: send one of its keys, as `Authorization: Bearer <key>`."""

    code = "no_api_key"


class WrongTokenType(NotAdmitted):
    """Invalid token type"""

    code = "wrong_token_type"


class InvalidToken(NotAdmitted):
    """Invalid token"""

    code = "invalid_token"


class BetaShape(NotAdmitted):
    """The beta shape of the Realtime API is not served: send no OpenAI-Beta header, and speak the GA protocol."""

    code = "beta_api_shape_disabled"
    status = 400


class AdmissionUnavailable(NotAdmitted):
    """The service is not available at the moment. Please try again later."""

    code = "admission_unavailable"
    fault = "server"
    recoverable = True
    status = 503
    close_code = 1013
    retry_after_s = 1


class ApiOff(RequestRefused):
    """This server has no API for the app's backend. Its operator turns it on by PARLEY_API_KEYS."""

    code = "api_off"
    status = 404


class ForBackend(RequestRefused):
    """With a device's token only its own sessions can be read and forgotten; the rest takes a key of the app's backend."""

    code = "for_backend"
    status = 403


class ForbiddenOrigin(RequestRefused):
    """Pages of this origin may not talk to this server. Its operator allows them in PARLEY_ORIGINS."""

    code = "forbidden_origin"
    status = 403
