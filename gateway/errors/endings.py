"""Why a connection ends."""

from __future__ import annotations

from gateway.errors.kinds import ConnectionOver


class ClientLeft(ConnectionOver):
    """The client has left."""

    code = "client_left"
    fault = "nobody"
    close_code = None


class SlowClient(ConnectionOver):
    """The client does not read what is sent to it."""

    code = "slow_client"
    fault = "client"
    close_code = None


class FrameTooLarge(ConnectionOver):
    """A message was larger than this connection takes."""

    code = "frame_too_large"
    fault = "client"
    close_code = 1009


class SessionEnded(ConnectionOver):
    """The session has ended."""

    code = "session_ended"
    fault = "nobody"
    close_code = 1000


class SessionFailed(ConnectionOver):
    """The session has failed."""

    code = "session_failed"


class SessionGone(ConnectionOver):
    """The session is gone. Please connect again."""

    code = "session_gone"


class SessionNotFound(ConnectionOver):
    """There is no such session, or it has ended. Please connect without one."""

    code = "session_not_found"
    fault = "client"
    close_code = 4404


class Replaced(ConnectionOver):
    """This session goes on over a newer connection."""

    code = "replaced"
    fault = "nobody"
    close_code = 4409


class Restarting(ConnectionOver):
    """This server restarts. Please connect again."""

    code = "restarting"
    recoverable = True
    close_code = 1012


class Unavailable(ConnectionOver):
    """The service is not available at the moment. Please try again later."""

    code = "unavailable"
    recoverable = True
    close_code = 1013
