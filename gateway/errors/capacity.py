"""How much one client may have, and how much there is of this server."""

from __future__ import annotations

import math
import random

from gateway.errors.kinds import Refused, RequestRefused


class TooMany(RequestRefused):
    """`what`: connections or sessions."""

    code = "too_many"
    recoverable = True
    status = 429

    def __init__(self, what: str, allowed: int, retry_after_s: int) -> None:
        self.allowed, self.retry_after_s = allowed, retry_after_s
        super().__init__(f"There are too many {what} of yours: {allowed} are allowed at once. End some, or try again later.")


class UsedUp(RequestRefused):
    """You have used all that you may today. Please come back tomorrow (midnight UTC)."""

    code = "usage_limit"
    recoverable = True
    status = 429

    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__()


class TooFast(Refused):
    """`wait_s`: until the same would be taken; None: it is too much at once."""

    code = "too_fast"
    fault = "client"
    recoverable = True

    def __init__(self, wait_s: float | None, at_once_s: float) -> None:
        self.wait_s = wait_s
        todo = "Send less at once." if wait_s is None else f"Send this again in {math.ceil(wait_s)} s."
        super().__init__(f"This is faster than real time: {at_once_s:g} s of speech are taken at once. {todo}")


class SlowDown(RequestRefused):
    """As TooFast, of a request: nothing of it was taken."""

    code = "slow_down"
    recoverable = True
    status = 429

    def __init__(self, error: TooFast) -> None:
        self.retry_after_s = None if error.wait_s is None else math.ceil(error.wait_s)
        super().__init__(str(error))


class TooMuchAtOnce(RequestRefused):
    """Too much is sent to this server at once. Please send it again in a few seconds, in smaller requests."""

    code = "too_much_at_once"
    status = 503
    recoverable = True
    retry_after_s = 3


class NotNow(RequestRefused):
    """The service is not available at the moment. Please try again in a second."""

    code = "not_now"
    status = 503
    fault = "server"
    recoverable = True
    retry_after_s = 1


class Crowded(NotNow):
    """There is no room for another session at the moment. Please try again in some seconds."""

    code = "crowded"

    def __init__(self) -> None:
        self.retry_after_s = random.randint(5, 15)  # not all at once
        super().__init__()
