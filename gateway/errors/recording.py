"""Recordings: a session's, and those of browsers."""

from __future__ import annotations

from gateway.errors.kinds import Refused, RequestRefused


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
