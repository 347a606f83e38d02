"""What operators may see and do."""

from __future__ import annotations

import math

from gateway.errors.admission import NotAdmitted
from gateway.errors.kinds import RequestRefused


class NoAdminKey(NotAdmitted):
    """This is for operators: send one of the keys of PARLEY_ADMIN_KEYS, as `Authorization: Bearer <key>`."""

    code = "no_admin_key"


class AdminOff(RequestRefused):
    """This server has no page for operators. It is turned on by PARLEY_ADMIN_KEYS."""

    code = "admin_off"
    status = 404


class NoListenKey(RequestRefused):
    """Listening, and reading what is said, takes a key of PARLEY_LISTEN_KEYS; an operator's is not enough."""

    code = "no_listen_key"
    status = 403


class TooManyTries(RequestRefused):
    """Too many wrong keys came from this address. Please wait."""

    code = "too_many_tries"
    recoverable = True
    status = 429

    def __init__(self, retry_after_s: float) -> None:
        self.retry_after_s = math.ceil(retry_after_s)
        super().__init__(f"Too many wrong keys came from this address. Try again in {self.retry_after_s} s.")


class TooManyWatchers(RequestRefused):
    """Too many operators look on at this gateway already. Close a view, and try again."""

    code = "too_many_watchers"
    fault = "server"
    recoverable = True
    status = 503
    retry_after_s = 5


class NoSuchGateway(RequestRefused):
    """There is no gateway of this name, or it has stopped."""

    code = "no_such_gateway"
    status = 404


class MetricsNotGiven(RequestRefused):
    """Metrics are given to this machine only. Its operator gives them to others by PARLEY_METRICS_TOKEN, or at a port of
    their own."""

    code = "metrics_not_given"
    status = 403
