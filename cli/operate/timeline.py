"""PURE. Both voices of a session on one line of time, as they are heard. Time is an argument, in seconds from the start.

What the user says comes as it is said. What the model says comes ahead of what is heard: it is laid down one piece behind
the other, and taken away again from where the user interrupted it.
"""

from __future__ import annotations

import array
import sys
from typing import Literal

RATE = 24_000
"""Hertz, of PCM16"""

BEHIND_S = 0.5
"""What is given out lies so far back: pieces that come late still find their place."""

JITTER_S = 0.4
"""Pieces that come not much later than the one before ends follow it without a gap."""

Side = Literal["user", "model"]


class Timeline:
    """Samples by side, from what was given out last."""

    def __init__(self) -> None:
        self.given = 0
        """samples given out, of each side"""
        self._tapes: dict[Side, array.array[int]] = {"user": array.array("h"), "model": array.array("h")}
        self._begins: dict[str, int] = {}
        """where each item of the model's begins"""
        self._missing: set[str | None] = set()
        """items of which something may be missing where the next piece comes; None: of the user's"""

    def put(self, side: Side, pcm: bytes, now: float, item: str | None = None, start_ms: int = 0) -> None:
        """A piece that has come now. `start_ms`: where in the item it begins."""
        tape, at = self._tapes[side], round(now * RATE)
        end, jitter = self.given + len(tape), JITTER_S
        if item in self._missing:
            self._missing.discard(item)
            jitter = 0.0
            at = at if item is None else self._begins[item] + start_ms * RATE // 1000
        if at > end + jitter * RATE or (not len(tape) and at > end):
            tape.frombytes(bytes(2 * (at - end)))
        if item is not None:
            self._begins.setdefault(item, self.given + len(tape) - start_ms * RATE // 1000)
        piece = array.array("h")
        piece.frombytes(pcm[: len(pcm) // 2 * 2])
        if sys.byteorder == "big":
            piece.byteswap()
        tape.extend(piece)

    def missing(self) -> None:
        """Whatever comes next may be the first after a gap: what is missing is silence, as long as it was sound."""
        self._missing = {None, *self._begins}

    def interrupted(self, item: str, at_ms: int) -> None:
        """Of this item so much was heard, and of what follows it nothing. What was given out stays."""
        begin = self._begins.get(item)
        if begin is not None:
            kept = max(0, begin + at_ms * RATE // 1000 - self.given)
            del self._tapes["model"][kept:]

    def due(self, now: float) -> tuple[array.array[int], array.array[int]]:
        """User and model, equally long: all up to a moment before now that was not given out yet."""
        return self._give(max(0, round((now - BEHIND_S) * RATE) - self.given))

    def rest(self) -> tuple[array.array[int], array.array[int]]:
        """All that is left."""
        return self._give(max(map(len, self._tapes.values())))

    def _give(self, count: int) -> tuple[array.array[int], array.array[int]]:
        given = []
        for tape in self._tapes.values():
            part = tape[:count]
            part.frombytes(bytes(2 * (count - len(part))))
            given.append(part)
            del tape[:count]
        self.given += count
        return given[0], given[1]


def stereo(user: array.array[int], model: array.array[int]) -> bytes:
    """The user left, the model right; PCM16 little-endian."""
    both = array.array("h", bytes(4 * len(user)))
    both[::2], both[1::2] = user, model
    return _bytes(both)


def mono(user: array.array[int], model: array.array[int]) -> bytes:
    """Both at once; what is too loud together is limited."""
    return _bytes(array.array("h", (max(-32_768, min(32_767, a + b)) for a, b in zip(user, model, strict=True))))


def _bytes(samples: array.array[int]) -> bytes:
    if sys.byteorder == "big":
        samples = samples[:]
        samples.byteswap()
    return samples.tobytes()


def endless_header(channels: int) -> bytes:
    """Of a WAV whose end nobody knows: for a pipe."""
    size, most = 2 * channels, 0xFFFF_FFFF
    return b"".join(
        (
            *(b"RIFF", most.to_bytes(4, "little"), b"WAVEfmt ", (16).to_bytes(4, "little")),
            *((1).to_bytes(2, "little"), channels.to_bytes(2, "little"), RATE.to_bytes(4, "little")),
            *((RATE * size).to_bytes(4, "little"), size.to_bytes(2, "little"), (16).to_bytes(2, "little")),
            *(b"data", (most - 36).to_bytes(4, "little")),
        )
    )
