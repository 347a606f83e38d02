"""What a request wants of a session."""

from __future__ import annotations

from gateway.errors.kinds import RequestRefused


class NoSuchSession(RequestRefused):
    """There is no such session, or it has ended. Please connect without one."""

    code = "no_such_session"
    status = 404


class MustNumber(RequestRefused):
    """This session takes numbered events only: send the audio in events, or open a session without parley=1."""

    code = "must_number"
    status = 409


class NeedsPackets(RequestRefused):
    """Raw Opus packets have no ends of their own: send each one in an event, or send them in Ogg or WebM."""

    code = "needs_packets"
    status = 409


class NoConversation(RequestRefused):
    """No active conversation session"""

    code = "no_conversation"


class UnusableAudio(RequestRefused):
    """The recording could not be heard."""

    code = "unusable_audio"
    status = 422


class NoAnswer(RequestRefused):
    """There is no answer. Please try again later."""

    code = "no_answer"
    status = 502
    fault = "server"
    recoverable = True


class NoAnswerInTime(NoAnswer):
    """The answer took too long. Send a shorter recording, or talk over a WebSocket, where you hear it as it comes."""

    code = "no_answer_in_time"
    status = 504
