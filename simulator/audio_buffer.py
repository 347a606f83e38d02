"""PURE. The input audio buffer: what was appended and not yet committed, on the clock of the session's audio."""

from __future__ import annotations

from simulator.audio_format import AudioFormat
from simulator.errors import CommitEmpty, InvalidValue

COMMIT_MINIMUM_MS = 100
LONGEST_MS = 10 * 60_000
"""What a client without turn detection may append before it commits. The reference knows no limit; memory does."""


class AudioBuffer:
    """Bytes with a position: `start_ms` and `end_ms` count all audio since the session started."""

    def __init__(self, audio_format: AudioFormat, start_ms: float = 0.0) -> None:
        self.format = audio_format
        self._start = round(start_ms * audio_format.bytes_per_ms)
        self._held = bytearray()

    @property
    def start_ms(self) -> float:
        return self.format.ms(self._start)

    @property
    def end_ms(self) -> float:
        """The clock: how much audio has come."""
        return self.format.ms(self._start + len(self._held))

    @property
    def held_ms(self) -> float:
        return self.format.ms(len(self._held))

    def append(self, audio: bytes) -> None:
        """Raises InvalidValue when nobody commits."""
        if self.format.ms(len(self._held) + len(audio)) > LONGEST_MS:
            raise InvalidValue(f"The input audio buffer holds at most {LONGEST_MS} ms; commit or clear it.", "audio")
        self._held += audio

    def take(self, from_ms: float, to_ms: float) -> bytes:
        """The whole samples between two positions; all audio before `to_ms` leaves the buffer."""
        first = max(self._position(from_ms), 0)
        last = max(self._position(to_ms), first)
        audio = bytes(self._held[first:last])
        self._drop(last)
        return audio[: self.format.whole(len(audio))]

    def take_all(self, from_ms: float = 0.0) -> bytes:
        """Commit. Raises CommitEmpty below 100 ms, and keeps what it has."""
        held_ms = min(self.held_ms, self.end_ms - from_ms)
        if held_ms < COMMIT_MINIMUM_MS:
            raise CommitEmpty(held_ms)
        return self.take(from_ms, self.end_ms)

    def clear(self) -> None:
        self._drop(len(self._held))

    def keep_last(self, keep_ms: float) -> None:
        """Forget all but the last `keep_ms`."""
        self._drop(max(self._position(self.end_ms - keep_ms), 0))

    def _position(self, at_ms: float) -> int:
        return round(at_ms * self.format.bytes_per_ms) - self._start

    def _drop(self, length: int) -> None:
        length = min(length, len(self._held))
        del self._held[:length]
        self._start += length
