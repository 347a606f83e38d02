"""PURE. The model's audio deltas, of any size, as entries of whole milliseconds and at most a tenth of a second."""

from __future__ import annotations

from streams.down import Audio

BYTES_PER_MS = 48
"""PCM16 mono at 24 kHz"""
ENTRY_BYTES = 100 * BYTES_PER_MS


class AudioCut:
    """One content part's audio. What does not fill a millisecond waits for the next delta, so that positions stay exact."""

    def __init__(self, response: str, item: str, part: int, output: int = 0) -> None:
        self.response, self.item, self.part, self.output = response, item, part, output
        self._carry = b""
        self._position_ms = 0

    def feed(self, pcm: bytes) -> list[Audio]:
        """The entries that this delta completes. A delta need not hold whole samples."""
        data = self._carry + pcm if self._carry else pcm
        whole = len(data) - len(data) % BYTES_PER_MS
        self._carry = data[whole:]
        return [self._entry(data[start : min(start + ENTRY_BYTES, whole)]) for start in range(0, whole, ENTRY_BYTES)]

    def flush(self) -> list[Audio]:
        """The part is complete: the last samples, less than a millisecond. Half a sample is dropped."""
        rest, self._carry = self._carry[: len(self._carry) & ~1], b""
        return [self._entry(rest)] if rest else []

    def _entry(self, audio: bytes) -> Audio:
        entry = Audio(self.response, self.item, self.part, self._position_ms, audio, self.output)
        self._position_ms += len(audio) // BYTES_PER_MS
        return entry
