"""PURE. How long the model takes: from the end of what was said to the first sound of the answer. Time is an argument."""

from __future__ import annotations

from realtime_bridge import server_events as hear


class AnswerLatency:
    """Of one session, over all its sockets."""

    def __init__(self) -> None:
        self.ms: int | None = None
        """of the latest answer that was spoken"""
        self._since: int | None = None
        """when what is to be answered had been said"""

    def heard(self, event: hear.ServerEvent | hear.Unknown, now: int) -> None:
        """An event of the model's; `now` in milliseconds.

        Speech ends when the model says so, or else when it is committed. What is asked for without speech counts from
        its response.
        """
        match event:
            case hear.InputAudioBufferSpeechStopped():
                self._since = now
            case hear.InputAudioBufferCommitted() | hear.ResponseCreated():
                self._since = now if self._since is None else self._since
            case hear.ResponseOutputAudioDelta() if self._since is not None:
                self.ms, self._since = now - self._since, None
            case hear.InputAudioBufferSpeechStarted() | hear.ResponseDone():
                self._since = None
            case _:
                pass
