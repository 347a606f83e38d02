"""NO I/O. One part of an answer on its way into a play stream: audio in as `down` has it, at another rate or coded out.

Where a packet begins depends on its place in the part only: packet n holds the samples from n times its length on, whoever
makes it. So a transcoder that takes over in the middle gives each packet once, and nothing twice, though not the same to
the bit: a codec remembers more than it is shown.
"""

from __future__ import annotations

from typing import Protocol

from streams import down
from streams.coding import Coding
from transcoder.continuous import ContinuousResampler
from transcoder.decoded import BYTES_PER_SAMPLE, SAMPLE_RATE
from transcoder.encoder import Codec, Encoder

_SAMPLES_PER_MS = SAMPLE_RATE // 1000


class PlayPart(Protocol):
    """Made with the first `Audio` of the part that there is; which is fed, too."""

    @property
    def response(self) -> str:
        """The answer that it is a part of."""

    def feed(self, audio: down.Audio) -> down.Audio | down.Coded:
        """What stands in the play stream under the same id."""

    def end(self) -> tuple[bytes, down.Tail]:
        """What is left."""


class PcmPart:
    """At another rate."""

    def __init__(self, rate: int, first: down.Audio) -> None:
        self._first = first
        self._resampler = ContinuousResampler(SAMPLE_RATE, rate, first.start_ms * _SAMPLES_PER_MS)

    @property
    def response(self) -> str:
        return self._first.response

    def feed(self, audio: down.Audio) -> down.Audio:
        sound = self._resampler.feed(audio.audio)
        return down.Audio(audio.response, audio.item, audio.part, audio.start_ms, sound, audio.output)

    def end(self) -> tuple[bytes, down.Tail]:
        first, position, tail = self._first, self._resampler.position, self._resampler.flush()
        lasts = round(len(tail) / BYTES_PER_SAMPLE * SAMPLE_RATE / self._resampler.rate)
        return tail, down.Tail(
            [len(tail)],
            position - lasts,
            0,
            item=first.item,
            part=first.part,
            response=first.response,
            output=first.output,
        )


class CodedPart:
    """In packets, of an encoder of its own."""

    def __init__(self, codec: Codec, coding: Coding, first: down.Audio) -> None:
        self._first = first
        self._encoder = Encoder(codec, coding)
        self._samples = self._encoder.frame_samples
        self._position = first.start_ms * _SAMPLES_PER_MS
        """in the part, of what comes next"""
        frame = self._position // self._samples
        held_back = min(frame, self._encoder.priming // self._samples)  # AAC gives a packet with the frame behind it
        self._packet = frame - held_back
        """the number of the next packet"""
        self._encoder.encode(bytes((self._position - self._packet * self._samples) * BYTES_PER_SAMPLE))

    @property
    def response(self) -> str:
        return self._first.response

    def feed(self, audio: down.Audio) -> down.Coded:
        self._position += len(audio.audio) // BYTES_PER_SAMPLE
        packets = [packet.data for packet in self._encoder.encode(audio.audio)]
        about = down.Packets(list(map(len, packets)), self._begins(), self._samples)
        self._packet += len(packets)
        return down.Coded(audio.response, audio.item, audio.part, audio.start_ms, b"".join(packets), about, audio.output)

    def end(self) -> tuple[bytes, down.Tail]:
        first, encoder = self._first, self._encoder
        all_of_it = -(-(encoder.priming + self._position) // self._samples)
        packets = [packet.data for packet in encoder.flush()][: all_of_it - self._packet]
        return b"".join(packets), down.Tail(
            list(map(len, packets)),
            self._begins(),
            self._samples,
            item=first.item,
            part=first.part,
            response=first.response,
            output=first.output,
            padding=all_of_it * self._samples - encoder.priming - self._position,
        )

    def _begins(self) -> int:
        return self._packet * self._samples - self._encoder.priming
