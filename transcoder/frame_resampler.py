"""A stream's audio frames → PCM16 mono at the model's rate, and what another one needs to go on from there to the bit.

As `transcoder.continuous`, but for frames of any format, layout and rate, as a decoder gives them. What is due after n
samples of source depends on n alone, so that work that is done twice gives each chunk the same samples.
"""

from __future__ import annotations

from collections import deque

from av import AudioFrame

from transcoder.continuous import FILTER_SAMPLES
from transcoder.decoded import BYTES_PER_SAMPLE, SAMPLE_RATE
from transcoder.errors import BrokenMedia
from transcoder.frames import frame_of, planes_of, silence, slice_of
from transcoder.rates import period
from transcoder.resampler import Resampler
from transcoder.stream_state import KeptSound

_WARM_UP_S = 0.01
"""Of source before what counts, beyond what is held back: a filter reaches back some 4 ms at most."""


class FrameResampler:
    """`feed(frame)` → what is due, `flush()` → the rest. N samples become N * 24000 / rate, rounded half up.

    Frames may change their format (HE-AAC turns up its extensions after the first one): what the old one still holds is
    given, and a new one begins.
    """

    def __init__(self, kept: KeptSound | None = None) -> None:
        self._leg: _Leg | None = None if kept is None else _Leg.going_on(kept)

    def feed(self, frame: AudioFrame) -> bytes:
        rest = b""
        if self._leg is None or not self._leg.fits(frame):
            rest = self.flush()
            self._leg = _Leg(frame)
        return rest + self._leg.feed(frame)

    def flush(self) -> bytes:
        leg, self._leg = self._leg, None
        return b"" if leg is None else leg.flush()

    def keep(self) -> KeptSound | None:
        """For another one to go on from; None before there was sound."""
        return None if self._leg is None else self._leg.keep()


class _Leg:
    """As long as the format is the same."""

    def __init__(self, like: AudioFrame, begin: int = 0) -> None:
        self._like = like
        self._rate = like.sample_rate
        self._every = period(self._rate, SAMPLE_RATE)
        is_resampled = self._rate != SAMPLE_RATE
        lag = 2 + max(FILTER_SAMPLES, -(-FILTER_SAMPLES * self._rate // SAMPLE_RATE))
        self._held_back = lag if is_resampled else 0
        self._needed = self._every + 2 * lag + int(_WARM_UP_S * self._rate) if is_resampled else 1
        self._inner = Resampler()
        self._taken = begin
        self._given = begin * SAMPLE_RATE // self._rate
        self._ready = bytearray()
        """from `_given` on"""
        self._tail: deque[AudioFrame] = deque()
        self._tail_samples = 0

    @classmethod
    def going_on(cls, kept: KeptSound) -> _Leg:
        """It begins at a multiple of the period, and gives what is behind `kept.taken`."""
        tail = frame_of(kept.format, kept.layout, kept.sample_rate, kept.planes)
        if not 0 < tail.samples <= kept.taken:
            raise BrokenMedia("what was kept of this stream is damaged; record it again")
        every = period(kept.sample_rate, SAMPLE_RATE)
        behind = (kept.taken - tail.samples) % every
        skip = every - behind if behind else 0
        leg = cls(tail, kept.taken - tail.samples + skip)
        leg.feed(tail if not skip else slice_of(tail, min(skip, tail.samples), tail.samples))
        return leg

    def fits(self, frame: AudioFrame) -> bool:
        like = self._like
        return (frame.sample_rate, frame.format.name, frame.layout.name) == (
            like.sample_rate, like.format.name, like.layout.name
        )  # fmt: skip

    def feed(self, frame: AudioFrame) -> bytes:
        if frame.samples:
            self._ready += self._inner.resample(frame)
            self._taken += frame.samples
            self._remember(frame)
        return self._take(max(0, self._taken - self._held_back) * SAMPLE_RATE // self._rate)

    def flush(self) -> bytes:
        # Silence pushes the rest out: what libswresample makes of an end by itself depends on the cuts.
        for frame in silence(self._like, 2 * self._held_back):
            self._ready += self._inner.resample(frame)
        return self._take((2 * self._taken * SAMPLE_RATE + self._rate) // (2 * self._rate))

    def keep(self) -> KeptSound | None:
        if not self._tail:
            return None
        planes = [b"".join(parts) for parts in zip(*(planes_of(frame) for frame in self._tail), strict=True)]
        samples = min(self._tail_samples, self._needed)
        planes = [plane[len(plane) - len(plane) // self._tail_samples * samples :] for plane in planes]
        return KeptSound(self._like.format.name, self._like.layout.name, self._rate, self._taken, planes)

    def _remember(self, frame: AudioFrame) -> None:
        self._tail.append(frame)
        self._tail_samples += frame.samples
        while self._tail_samples - self._tail[0].samples >= self._needed:
            self._tail_samples -= self._tail.popleft().samples

    def _take(self, upto: int) -> bytes:
        size = max(0, upto - self._given) * BYTES_PER_SAMPLE
        taken = bytes(self._ready[:size])
        assert len(taken) == size, f"{self._rate} Hz holds back more than {self._held_back} samples"
        del self._ready[:size]
        self._given += size // BYTES_PER_SAMPLE
        return taken
