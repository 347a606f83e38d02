"""PCM16 mono of one rate → of another as it comes, each sample a function of the source and its position only.

That is what makes work that is done twice equal to the bit. How the source is cut changes nothing. Nor does it change
anything to begin in the middle: after `rates.WARM_UP_S` of source the filter has forgotten what it had not heard, and the
phase is the same because it begins at a multiple of the two rates' period.

"To the bit" holds where the target rate divided by the rates' greatest common divisor is at most 1024: for every rate in
use. At others (24,001 Hz) libswresample interpolates, and a sample may differ by one step; lengths are exact at all.
"""

from __future__ import annotations

from av import AudioFrame

from transcoder.decoded import BYTES_PER_SAMPLE
from transcoder.rates import period
from transcoder.resampler import Resampler

FILTER_SAMPLES = 34
"""Of the lower rate: as many as libswresample's filter has, up to its rounding. It holds back half of them, and all when it
is fed sample by sample."""


class ContinuousResampler:
    """One utterance or one part of an answer: `feed(pcm)` → what is due, at the end `flush()` → the rest.

    N samples of source become N * rate / source_rate in all, rounded half up. What is due after N samples depends on N only:
    it lags 1.5 ms behind from 24 kHz upwards, 2.3 ms at 16 kHz, 4.5 ms at 8 kHz. At equal rates all passes as it is.

    `position` is how many samples of the source come before the first that is fed. The output begins where it would have
    stood by then; what depends on the source before `position` is wrong, up to silence, for the first `rates.WARM_UP_S`.
    """

    def __init__(self, source_rate: int, rate: int, position: int = 0) -> None:
        self.source_rate, self.rate = source_rate, rate
        self.position = position
        """source samples that were fed, or came before"""
        self._held_back = 2 + max(FILTER_SAMPLES, -(-FILTER_SAMPLES * source_rate // rate))
        self._inner = Resampler(rate)
        every = period(source_rate, rate)
        begin = -(-position // every) * every
        self._skip = (begin - position) * BYTES_PER_SAMPLE
        self._given = self._due()
        self._ready = bytearray((begin * rate // source_rate - self._given) * BYTES_PER_SAMPLE)

    def feed(self, pcm: bytes) -> bytes:
        """Whole samples, as many as there are → the samples that are due now."""
        if self.source_rate == self.rate:
            self.position += len(pcm) // BYTES_PER_SAMPLE
            return pcm
        self.position += len(pcm) // BYTES_PER_SAMPLE
        fresh = pcm[self._skip :]
        self._skip -= len(pcm) - len(fresh)
        if fresh:
            self._ready += self._inner.resample(_frame(fresh, self.source_rate))
        return self._take(self._due())

    def flush(self) -> bytes:
        """The source has ended: the samples that were held back. The next one begins anew, with a resampler of its own."""
        if self.source_rate == self.rate:
            return b""
        total = (2 * self.position * self.rate + self.source_rate) // (2 * self.source_rate)
        # Silence pushes them out. libswresample's own flush mirrors as much as it happens to hold: that depends on the cuts.
        silence = bytes(2 * self._held_back * BYTES_PER_SAMPLE)
        self._ready += self._inner.resample(_frame(silence, self.source_rate))
        return self._take(total)

    def _due(self) -> int:
        return max(0, self.position - self._held_back) * self.rate // self.source_rate

    def _take(self, upto: int) -> bytes:
        size = max(0, upto - self._given) * BYTES_PER_SAMPLE
        taken = bytes(self._ready[:size])
        assert len(taken) == size, f"{self.source_rate} → {self.rate} Hz holds back more than {self._held_back} samples"
        del self._ready[:size]
        self._given += size // BYTES_PER_SAMPLE
        return taken


def _frame(pcm: bytes, rate: int) -> AudioFrame:
    frame = AudioFrame(format="s16", layout="mono", samples=len(pcm) // BYTES_PER_SAMPLE, align=1)
    frame.sample_rate = rate
    frame.planes[0].update(pcm)
    return frame
