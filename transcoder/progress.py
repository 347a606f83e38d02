"""PURE. Where the work on `up` stands, and how much of `up` may be forgotten.

Forgotten is what is in `pcm` and on the disk, unless a resampler needs it to be warmed up by: whoever takes the session over
begins at the checkpoint, does all that `up` still holds again, and makes the same samples from there on that are not stored.
"""

from __future__ import annotations

from collections import deque

from streams.checkpoint import Checkpoint
from streams.ids import EntryId
from transcoder.decoded import SAMPLE_RATE
from transcoder.rates import source_rate, warm_up_from

SAVE_EVERY_S = 1.0
"""Of audio, while one utterance or one stream of chunks goes on: between two checkpoints."""

KEEP_EVERY_BYTES = 256 << 10
"""Of a stream of chunks in which there is little to hear."""


class Progress:
    """Count with the methods, then say which entry is `done`; now and then ask for a `checkpoint`."""

    def __init__(self, start: Checkpoint) -> None:
        self.source, self.position = start.source, start.position
        self.made, self.recorded, self.recorded_rate = start.made, start.recorded, start.recorded_rate
        self.is_broken = start.is_broken
        """nothing comes of the chunks any more"""
        self.decoder: bytes | None = start.decoder
        """what the decoder of the chunks knows by now; None: it has not said it"""
        self._fed_bytes = 0
        """of chunks since it was last said"""
        self._saved = start
        self._candidates: deque[Checkpoint] = deque()
        """the end of the utterance before, and then each entry of this one"""

    @property
    def rate(self) -> int | None:
        """Hertz of the source's PCM; None: not taken."""
        return source_rate(self.source)

    def take(self, samples: int) -> int | None:
        """So many samples of source have come: where they are in the recording, as `record` says it."""
        self.position += samples
        return None if self.rate is None else self.record(samples, self.rate)

    def record(self, samples: int, rate: int) -> int | None:
        """So many samples are to be recorded: where they are in the recording; None when they do not belong into it.

        A recording has one rate: that of the first speech in the session.
        """
        self.recorded_rate = self.recorded_rate or rate
        if rate != self.recorded_rate:
            return None
        offset, self.recorded = self.recorded, self.recorded + samples
        return offset

    def make(self, samples: int) -> int:
        """So many samples go to `pcm`: the absolute offset of the first."""
        offset, self.made = self.made, self.made + samples
        return offset

    def feed(self, size: int) -> bool:
        """So many bytes of a stream go to its decoder: whether it is to say what it knows behind them."""
        self._fed_bytes += size
        self.decoder = None
        return self.made - self._saved.made >= SAVE_EVERY_S * SAMPLE_RATE or self._fed_bytes >= KEEP_EVERY_BYTES

    def stand(self, decoder: bytes) -> None:
        """The decoder of the chunks has said what it knows; empty: it begins anew."""
        self.decoder, self._fed_bytes = decoder, 0

    def end_utterance(self) -> None:
        """The next samples of source are the first of an utterance."""
        self.position = 0

    def done(self, entry: EntryId) -> None:
        """All up to and with this entry is in `pcm`."""
        if self.decoder is None:
            return
        while not self.position and self._candidates and self._candidates[-1].position:
            self._candidates.pop()  # nobody has to be warmed up by what an utterance said that has ended
        self._candidates.append(
            Checkpoint(
                upto=str(entry),
                source=self.source,
                position=self.position,
                made=self.made,
                recorded=self.recorded,
                recorded_rate=self.recorded_rate,
                is_broken=self.is_broken,
                decoder=self.decoder,
            )
        )

    def checkpoint(self, on_disk: int | None) -> Checkpoint | None:
        """The latest that a takeover can go on from, if it is worth saving.

        `on_disk`: samples of the recording that are; None where it does not matter.
        """
        rate = self.rate or SAMPLE_RATE
        horizon = warm_up_from(rate, SAMPLE_RATE, self.position)
        found: Checkpoint | None = None
        while self._candidates and self._is_safe(self._candidates[0], horizon, on_disk):
            found = self._candidates.popleft()
        if found is None:
            return None
        if found.position and found.made - self._saved.made < SAVE_EVERY_S * SAMPLE_RATE:
            self._candidates.appendleft(found)
            return None
        self._saved = found
        return found

    def _is_safe(self, candidate: Checkpoint, horizon: int, on_disk: int | None) -> bool:
        return candidate.position <= horizon and (on_disk is None or candidate.recorded <= on_disk)
