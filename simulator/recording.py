"""What one session received, kept for tests in this process, and for whoever asks at the control endpoint. Bounded."""

from __future__ import annotations

from collections import deque

from simulator.wire import Object

_EVENTS = 256


class Recording:
    def __init__(self, limit: int) -> None:
        self.appended = bytearray()
        """the latest `limit` bytes of appended audio, as they came"""
        self.utterances: deque[bytes] = deque()
        """what was committed, by turn detection or by the client; the latest `limit` bytes in all, in whole utterances"""
        self.client_events: deque[Object] = deque(maxlen=_EVENTS)
        """the latest client events but appends; also those that were refused"""
        self.refused: deque[str] = deque(maxlen=_EVENTS)
        """why the latest client events were refused, in words"""
        self._limit = limit

    def forget_audio(self) -> None:
        """Keep none of it, from now on."""
        self._limit = 0
        self.appended = bytearray()
        self.utterances.clear()

    def append(self, audio: bytes) -> None:
        if self._limit:
            self.appended += audio
            del self.appended[: max(0, len(self.appended) - self._limit)]

    def commit(self, audio: bytes) -> None:
        self.utterances.append(audio)
        while self.utterances and sum(map(len, self.utterances)) > self._limit:
            self.utterances.popleft()
