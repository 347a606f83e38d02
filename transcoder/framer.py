"""PURE. PCM16 of any length → frames of equal length, carrying the rest.

A frame is `frame_samples` samples of 2 bytes. Any split of the same bytes gives the same frames, also one in the
middle of a sample.
"""

from __future__ import annotations

from collections.abc import Iterator

from transcoder.decoded import BYTES_PER_SAMPLE


def cut(pcm: bytes, frame_samples: int) -> Iterator[bytes]:
    """Frames of a whole recording; the last one may be shorter. A dangling byte at the end is dropped."""
    framer = Framer(frame_samples)
    yield from framer.feed(pcm)
    if rest := framer.flush():
        yield rest


class Framer:
    """Frames of a recording that is still coming: `feed(pcm)` → frames, at the end `flush()` → the rest."""

    def __init__(self, frame_samples: int) -> None:
        if frame_samples < 1:
            raise ValueError(f"a frame has at least one sample, not {frame_samples}")
        self._frame_bytes = frame_samples * BYTES_PER_SAMPLE
        self._rest = b""

    @property
    def pending_bytes(self) -> int:
        """How much waits for the rest of its frame."""
        return len(self._rest)

    def feed(self, pcm: bytes) -> list[bytes]:
        """The frames that are complete now."""
        data = self._rest + pcm if self._rest else pcm
        size = self._frame_bytes
        whole = len(data) - len(data) % size
        self._rest = data[whole:]
        return [data[at : at + size] for at in range(0, whole, size)]

    def flush(self) -> bytes:
        """What is left, in whole samples: shorter than a frame, often empty. A dangling byte is dropped with it."""
        rest, self._rest = self._rest, b""
        return rest[: len(rest) - len(rest) % BYTES_PER_SAMPLE]
