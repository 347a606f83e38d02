"""What can go wrong at the door, whose fault it is, and what becomes of the connection.

DoorError
├── RequestRefused            the request is refused; `status` and the sentence are answered
│   ├── NotAdmitted           401; a WebSocket is opened, and closed with 1008, do not come back
│   │   ├── NoToken           "no_token"          there is none, and it is asked for       fault: the client
│   │   ├── NoApiKey          "no_api_key"        none of those of the app's backend       fault: the client
│   │   ├── NoAdminKey        "no_admin_key"      none of an operator's                    fault: the client
│   │   ├── WrongTokenType    "wrong_token_type"  it is for something else                 fault: the client
│   │   ├── InvalidToken      "invalid_token"     not ours, expired, a used ticket         fault: the client
│   │   ├── BetaShape         "beta_api_shape_disabled"   speaks what was before GA  400, fault: the client
│   │   └── AdmissionUnavailable "admission_unavailable"   Redis cannot be asked  503, 1013, fault: the server; recoverable
│   ├── ApiOff                "api_off"           the app's backend has no key here     404, fault: the client
│   ├── AdminOff              "admin_off"         operators have no key here           404, fault: the client
│   ├── NoListenKey           "no_listen_key"     to operate is not to listen             403, fault: the client
│   ├── TooManyTries          "too_many_tries"    wrong keys, one after the other         429, fault: the client; recoverable
│   ├── TooManyWatchers       "too_many_watchers" operators that look on at once          503, recoverable
│   ├── NoSuchGateway         "no_such_gateway"   none of this name is there              404, fault: the client
│   ├── MetricsNotGiven       "metrics_not_given" to this machine only, or by a token   403, fault: the client
│   ├── ForBackend            "for_backend"       a device's token is not enough        403, fault: the client
│   ├── ForbiddenOrigin       "forbidden_origin"  the page is none of ours              403, fault: the client
│   ├── SlowDown              "slow_down"         speech, faster than it is spoken     429, fault: the client; recoverable
│   ├── TooMuchAtOnce         "too_much_at_once"  requests that are still read         503, recoverable
│   ├── TooMany               "too_many"          connections or sessions at once       429, fault: the client; recoverable
│   ├── UsedUp                "usage_limit"       all that a user may use in a day      429, fault: the client; recoverable
│   ├── BodyTooLarge          "body_too_large"    more than this request may carry      413, fault: the client
│   ├── StalledBody           "stalled_body"      nothing comes, or far too little      408, fault: the client
│   ├── CodedBody             "coded_body"        it has a Content-Encoding             415, fault: the client
│   ├── BrokenBody            "broken_body"       it broke off, or is no HTTP           400, fault: the client
│   ├── InvalidRequest        "invalid_request"   a field that cannot be read           400, fault: the client
│   ├── EmptyUpload           "empty_upload"      no sample in it                       400, fault: the client
│   ├── NoEvents              "no_events"         neither an event nor a list of some   400, fault: the client
│   ├── TooManyEvents         "too_many_events"   more than one request may carry       413, fault: the client
│   ├── NoSuchSession         "no_such_session"   it has ended, or is somebody else's   404, fault: the client
│   ├── NoSuchRecording       "no_such_recording" nobody has recorded it, or it is old  404, fault: the client
│   ├── NotRecordable         "not_recordable"    it has ended, or is not recorded      409, fault: the client
│   ├── NoConsent             "no_consent"        the user has not agreed               403, fault: the client
│   ├── MustNumber            "must_number"       it was opened to number all it takes  409, fault: the client
│   ├── UnknownInput          "unknown_input"     no such format of what it would send  400, fault: the client
│   ├── NeedsPackets          "needs_packets"     a body has no ends of packets in it   409, fault: the client
│   ├── InvalidAddress        "invalid_address"   something in it is missing or wrong   400, fault: the client
│   ├── NoConversation        "no_conversation"   there is none to speak in             400, fault: the client
│   ├── UnusableAudio         "unusable_audio"    no recording that could be heard      422, fault: the client
│   ├── NoAnswer              "no_answer"         the model gave none                   502, recoverable
│   │   └── NoAnswerInTime    "no_answer_in_time" it took too long                      504, recoverable
│   └── NotNow                "not_now"           Redis does not answer, or we stop     503, recoverable
│       └── Crowded           "crowded"           Redis has hardly room for another     503, recoverable
├── Refused                   this message is refused; the connection goes on
│   ├── InvalidMessage        "invalid_message"   not JSON, no object, a wrong field    fault: the client
│   ├── UnknownType           "unknown_type"      a type that this door does not know   fault: the client
│   ├── BinaryFrame           "binary_frame"      this door speaks text                 fault: the client
│   ├── UnknownFormat         "unknown_format"    in the query                          fault: the client
│   ├── InvalidAudio          "invalid_audio"     not base64                            fault: the client
│   ├── EmptyAudio            "empty_audio"       nothing in it                         fault: the client
│   ├── TooFast               "too_fast"          speech, faster than it is spoken      fault: the client; recoverable
│   ├── TooLarge              "too_large"         more than one recording may have      fault: the client
│   ├── Busy                  "busy"              more waits for Redis than may wait    fault: the server; recoverable
│   ├── NotStored             "not_stored"        Redis did not take it                 fault: the server; recoverable
│   ├── NoRoom                "no_room"           Redis has no room for what is said    fault: the server; recoverable
│   ├── NoBridge              "no_bridge"         all bridges are full, or there is none fault: the server; recoverable
│   ├── TooLate               "too_late"          the session has ended meanwhile       fault: nobody's
│   └── RecordingStopped      no more of this recording is taken
│       ├── DiskFull          "disk_full"         or the quota on it                    fault: the server; recoverable
│       ├── NotWritable       "not_writable"      the folder, or the file               fault: the server; recoverable
│       ├── RecordingTooLarge "recording_too_large"  more than one recording may have   fault: the client
│       ├── RecordingOver     "recording_over"    one of these came before              fault: the client
│       └── NotSaved          "not_saved"         it keeps the name that it grew under  fault: the server
└── ConnectionOver            the connection ends; `close_code` and the sentence are told
    ├── ClientLeft            "client_left"       it closed, or its network is gone     nobody is left to be told
    ├── SlowClient            "slow_client"       it does not read what is sent to it   fault: the client; cut off
    ├── FrameTooLarge         "frame_too_large"   more than this door reads at once     1009, fault: the client
    ├── SessionEnded          "session_ended"     the conversation is over              1000
    ├── SessionFailed         "session_failed"    it ended because something failed     1011
    ├── SessionGone           "session_gone"      its streams are gone                  1011
    ├── SessionNotFound       "session_not_found" there is none to resume, any more     4404, fault: the client
    ├── Replaced              "replaced"          a newer connection has the session    4409, do not come back
    ├── Restarting            "restarting"        this gateway stops                    1012, recoverable
    └── Unavailable           "unavailable"       Redis does not answer                 1013, recoverable

Each says three things: what happened (`code` for programs, `str(error)` a sentence that tells the person what to do), whose
fault it is (`fault`), and whether the same may be tried again with hope (`recoverable`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from streams.sources import MAX_RATE, MIN_RATE, RAW

Fault = Literal["client", "server", "nobody"]


class DoorError(Exception):
    """Something went wrong at the door."""

    code: ClassVar[str] = "door_error"
    fault: ClassVar[Fault] = "server"
    recoverable: ClassVar[bool] = False

    def __init__(self, sentence: str | None = None) -> None:
        super().__init__(sentence or self.__doc__)


class RequestRefused(DoorError):
    """This request was refused."""

    status: ClassVar[int] = 400
    """HTTP's"""
    fault: ClassVar[Fault] = "client"

    door: str | None = None
    """where; None: before it came to one"""

    @property
    def headers(self) -> Mapping[str, str]:
        """What the answer carries besides."""
        return {}


class NotAdmitted(RequestRefused):
    """Nobody comes in like this."""

    status = 401
    close_code: ClassVar[int] = 1008

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class NoToken(NotAdmitted):
    """Authentication required"""

    code = "no_token"


class WrongTokenType(NotAdmitted):
    """Invalid token type"""

    code = "wrong_token_type"


class InvalidToken(NotAdmitted):
    """Invalid token"""

    code = "invalid_token"


class NoApiKey(NotAdmitted):
    """This is for the app's backend: send one of its keys, as `Authorization: Bearer <key>`."""

    code = "no_api_key"


class NoAdminKey(NotAdmitted):
    """This is for operators: send one of the keys of PARLEY_ADMIN_KEYS, as `Authorization: Bearer <key>`."""

    code = "no_admin_key"


class AdmissionUnavailable(NotAdmitted):
    """The service is not available at the moment. Please try again later."""

    code = "admission_unavailable"
    fault = "server"
    recoverable = True
    status = 503
    close_code = 1013

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": "1"}


class ApiOff(RequestRefused):
    """This server has no API for the app's backend. Its operator turns it on by PARLEY_API_KEYS."""

    code = "api_off"
    status = 404


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

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": f"{self.retry_after_s}"}


class TooManyWatchers(RequestRefused):
    """Too many operators look on at this gateway already. Close a view, and try again."""

    code = "too_many_watchers"
    fault = "server"
    recoverable = True
    status = 503

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": "5"}


class NoSuchGateway(RequestRefused):
    """There is no gateway of this name, or it has stopped."""

    code = "no_such_gateway"
    status = 404


class MetricsNotGiven(RequestRefused):
    """Metrics are given to this machine only. Its operator gives them to others by PARLEY_METRICS_TOKEN, or at a port of
    their own."""

    code = "metrics_not_given"
    status = 403


class ForBackend(RequestRefused):
    """With a device's token only its own sessions can be read and forgotten; the rest takes a key of the app's backend."""

    code = "for_backend"
    status = 403


class BetaShape(NotAdmitted):
    """The beta shape of the Realtime API is not served: send no OpenAI-Beta header, and speak the GA protocol."""

    code = "beta_api_shape_disabled"
    status = 400

    @property
    def headers(self) -> Mapping[str, str]:
        return {}


class ForbiddenOrigin(RequestRefused):
    """Pages of this origin may not talk to this server. Its operator allows them in PARLEY_ORIGINS."""

    code = "forbidden_origin"
    status = 403


class TooMany(RequestRefused):
    """`what`: connections or sessions."""

    code = "too_many"
    recoverable = True
    status = 429

    def __init__(self, what: str, allowed: int, retry_after_s: int) -> None:
        self.allowed, self.retry_after_s = allowed, retry_after_s
        super().__init__(f"There are too many {what} of yours: {allowed} are allowed at once. End some, or try again later.")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": f"{self.retry_after_s}"}


class UsedUp(RequestRefused):
    """You have used all that you may today. Please come back tomorrow (midnight UTC)."""

    code = "usage_limit"
    recoverable = True
    status = 429

    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__()

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": f"{self.retry_after_s}"}


class TooMuchAtOnce(RequestRefused):
    """Too much is sent to this server at once. Please send it again in a few seconds, in smaller requests."""

    code = "too_much_at_once"
    status = 503
    recoverable = True

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": "3"}


class BodyTooLarge(RequestRefused):
    """`allowed` is in bytes."""

    code = "body_too_large"
    status = 413

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        super().__init__(f"The request is too large: {allowed} bytes are allowed. Send less at a time.")


class StalledBody(RequestRefused):
    """The request did not come to its end in time. Please send it again."""

    code = "stalled_body"
    status = 408
    recoverable = True


class CodedBody(RequestRefused):
    """The request has a Content-Encoding, which is not taken here: send the bytes as they are."""

    code = "coded_body"
    status = 415


class BrokenBody(RequestRefused):
    """The request broke off before its end. Please send it again."""

    code = "broken_body"
    recoverable = True


class InvalidRequest(RequestRefused):
    """This request cannot be read."""

    code = "invalid_request"


class EmptyUpload(RequestRefused):
    """empty audio data"""

    code = "empty_upload"


class NoEvents(RequestRefused):
    """The body is neither an event nor an array of events: send JSON, an object or an array of objects."""

    code = "no_events"


class TooManyEvents(RequestRefused):
    """`allowed` is how many events one request may carry."""

    code = "too_many_events"
    status = 413

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        super().__init__(f"There are too many events in the request: {allowed} are allowed. Send fewer at a time.")


class NoSuchSession(RequestRefused):
    """There is no such session, or it has ended. Please connect without one."""

    code = "no_such_session"
    status = 404


class NoSuchRecording(RequestRefused):
    """There is no recording of this session, or it is not kept any more."""

    code = "no_such_recording"
    status = 404


class NotRecordable(RequestRefused):
    """This session has ended, or it was opened not to be recorded: see PARLEY_RECORD, and what its client has said."""

    code = "not_recordable"
    status = 409


class NoConsent(RequestRefused):
    """Nobody has said yet that the user agrees to be recorded: ask them, and send "consent": true."""

    code = "no_consent"
    status = 403


class MustNumber(RequestRefused):
    """This session takes numbered events only: send the audio in events, or open a session without parley=1."""

    code = "must_number"
    status = 409


class UnknownInput(RequestRefused):
    """An input format that there is not."""

    code = "unknown_input"

    def __init__(self, named: str) -> None:
        shown = named if len(named) <= 40 else named[:40] + "…"
        super().__init__(
            f'There is no input "{shown}". Say "pcm16", "stream" (WebM, Ogg, fragmented MP4, ADTS or MP3), "opus" (a raw '
            f"packet a chunk), or {', '.join(RAW)} with its sample rate ({MIN_RATE} to {MAX_RATE}) and channels."
        )


class NeedsPackets(RequestRefused):
    """Raw Opus packets have no ends of their own: send each one in an event, or send them in Ogg or WebM."""

    code = "needs_packets"
    status = 409


class InvalidAddress(RequestRefused):
    """Something in the address is missing, or wrong."""

    code = "invalid_address"


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


class NotNow(RequestRefused):
    """The service is not available at the moment. Please try again in a second."""

    code = "not_now"
    status = 503
    fault = "server"
    recoverable = True

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": "1"}


class Crowded(NotNow):
    """There is no room for another session at the moment. Please try again in some seconds."""

    code = "crowded"

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": f"{random.randint(5, 15)}"}  # not all at once


class Refused(DoorError):
    """This message was refused."""


class InvalidMessage(Refused):
    """This is not a message of this connection."""

    code = "invalid_message"
    fault = "client"


class UnknownType(Refused):
    """`named` is what the client called it."""

    code = "unknown_type"
    fault = "client"

    def __init__(self, named: str, known: Sequence[str]) -> None:
        shown = named if len(named) <= 40 else named[:40] + "…"
        super().__init__(f'There is no message of type "{shown}" here. Send one of these: {", ".join(known)}.')


class BinaryFrame(Refused):
    """This connection takes JSON text frames only: send audio as base64 in a message of type "audio"."""

    code = "binary_frame"
    fault = "client"


class UnknownFormat(Refused):
    """A format in the query that this door does not have."""

    code = "unknown_format"
    fault = "client"

    def __init__(self, field: str, named: str, known: Sequence[str], used: str) -> None:
        shown = named if len(named) <= 40 else named[:40] + "…"
        super().__init__(f'There is no {field} "{shown}". Use one of these: {", ".join(known)}. Without one it is {used}.')


class InvalidAudio(Refused):
    """The audio is not base64: send the whole recording in the standard alphabet, padded, without line breaks or prefix."""

    code = "invalid_audio"
    fault = "client"


class EmptyAudio(Refused):
    """The audio is empty: send a whole recording."""

    code = "empty_audio"
    fault = "client"


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
        self._wait_s = error.wait_s
        super().__init__(str(error))

    @property
    def headers(self) -> Mapping[str, str]:
        return {} if self._wait_s is None else {"Retry-After": f"{math.ceil(self._wait_s)}"}


class TooLarge(Refused):
    """`allowed` is in bytes."""

    code = "too_large"
    fault = "client"

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        super().__init__(f"The recording is too large: {allowed / 1e6:.1f} MB are allowed. Send shorter recordings.")


class Busy(Refused):
    """Too much of what you sent is still waiting to be stored. Please send this again in a moment."""

    code = "busy"
    recoverable = True


class NotStored(Refused):
    """What you sent could not be stored, please send it again."""

    code = "not_stored"
    recoverable = True


class NoBridge(Refused):
    """Nobody is free to talk to you at the moment. What you said is kept, and answered as soon as somebody is."""

    code = "no_bridge"
    recoverable = True


class NoRoom(Refused):
    """The server has run out of memory, and the conversation ends. Please connect again in a minute."""

    code = "no_room"
    fault = "server"
    recoverable = True


class TooLate(Refused):
    """The session has ended. Please connect again."""

    code = "too_late"
    fault = "nobody"


class RecordingStopped(Refused):
    """No more of this recording is taken."""


class DiskFull(RecordingStopped):
    """The disk of this server is full."""

    code = "disk_full"
    recoverable = True


class NotWritable(RecordingStopped):
    """`reason` is the operating system's."""

    code = "not_writable"
    recoverable = True

    def __init__(self, reason: str) -> None:
        super().__init__(f"This server cannot write the recording ({reason}).")


class RecordingTooLarge(RecordingStopped):
    """`allowed` is in bytes."""

    code = "recording_too_large"
    fault = "client"

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        super().__init__(f"The recording is too large: {allowed} bytes are allowed.")


class RecordingOver(RecordingStopped):
    """This was not recorded, because the recording has ended."""

    code = "recording_over"
    fault = "client"


class NotSaved(RecordingStopped):
    """`file` is what it is called now, `reason` the operating system's."""

    code = "not_saved"

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"The recording could not be finished ({reason}). What was written is in {file}.")


class ConnectionOver(DoorError):
    """The connection ends."""

    close_code: ClassVar[int | None] = 1011
    """RFC 6455's; None when there is nobody to tell, or no way"""


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
