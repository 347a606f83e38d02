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
│   ├── NeedsWebSocket        "needs_websocket"   asked for as if it were a page         426, fault: the client
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

Where each is defined:

kinds.py       the three kinds
admission.py   who comes in, and to what
operators.py   what operators may see and do
capacity.py    how much one client may have, and how much there is of this server
requests.py    what a request carries, and how it comes
sessions.py    what a request wants of a session
messages.py    what is said over a connection that goes on
recording.py   recordings: a session's, and those of browsers
endings.py     why a connection ends
"""

from __future__ import annotations

from gateway.errors.admission import (
    AdmissionUnavailable,
    ApiOff,
    BetaShape,
    ForBackend,
    ForbiddenOrigin,
    InvalidToken,
    NoApiKey,
    NotAdmitted,
    NoToken,
    WrongTokenType,
)
from gateway.errors.capacity import Crowded, NotNow, SlowDown, TooFast, TooMany, TooMuchAtOnce, UsedUp
from gateway.errors.endings import (
    ClientLeft,
    FrameTooLarge,
    Replaced,
    Restarting,
    SessionEnded,
    SessionFailed,
    SessionGone,
    SessionNotFound,
    SlowClient,
    Unavailable,
)
from gateway.errors.kinds import ConnectionOver, DoorError, Fault, Refused, RequestRefused
from gateway.errors.messages import (
    BinaryFrame,
    Busy,
    EmptyAudio,
    InvalidAudio,
    InvalidMessage,
    NoBridge,
    NoRoom,
    NotStored,
    TooLarge,
    TooLate,
    UnknownFormat,
    UnknownType,
)
from gateway.errors.operators import (
    AdminOff,
    MetricsNotGiven,
    NoAdminKey,
    NoListenKey,
    NoSuchGateway,
    TooManyTries,
    TooManyWatchers,
)
from gateway.errors.recording import (
    DiskFull,
    NoConsent,
    NoSuchRecording,
    NotRecordable,
    NotSaved,
    NotWritable,
    RecordingOver,
    RecordingStopped,
    RecordingTooLarge,
)
from gateway.errors.requests import (
    BodyTooLarge,
    BrokenBody,
    CodedBody,
    EmptyUpload,
    InvalidAddress,
    InvalidRequest,
    NeedsWebSocket,
    NoEvents,
    StalledBody,
    TooManyEvents,
    UnknownInput,
)
from gateway.errors.sessions import (
    MustNumber,
    NeedsPackets,
    NoAnswer,
    NoAnswerInTime,
    NoConversation,
    NoSuchSession,
    UnusableAudio,
)
