"""NO I/O. One part of an answer on its way into a play stream: audio in as `down` has it, at another rate or coded out.

Where a packet begins depends on its place in the part only: packet n holds the samples from n times its length on, whoever
makes it. So a transcoder that takes over in the middle gives each packet once, and nothing twice, though not the same to
the bit: a codec remembers more than it is shown. Which packets an entry has depends on its place alone, too.
"""

from __future__ import annotations

from typing import Protocol

from streams import down
from streams.coding import Coding
from transcoder.continuous import ContinuousResampler
from transcoder.decoded import BYTES_PER_SAMPLE, SAMPLE_RATE
from transcoder.encoder import Codec, Coded, Encoder

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
        self._looks_ahead = self._encoder.priming // self._samples
        """frames: AAC gives a packet with the one behind it"""
        self._made = frame - min(frame, self._looks_ahead)
        """the number of the next packet that the encoder gives"""
        self._packet = frame if self._early_with(frame) else self._made
        """that of the next one for the client; it lies ahead when one was given early"""
        self._encoder.encode(bytes((self._position - self._made * self._samples) * BYTES_PER_SAMPLE))

    @property
    def response(self) -> str:
        return self._first.response

    def feed(self, audio: down.Audio) -> down.Coded:
        self._position += len(audio.audio) // BYTES_PER_SAMPLE
        packets = self._due(self._encoder.encode(audio.audio))
        if self._early_with(self._position // self._samples) and self._packet + len(packets) == self._made:
            packets.append(self._encoder.early().data)
        about = down.Packets(list(map(len, packets)), self._begins(), self._samples)
        self._packet += len(packets)
        return down.Coded(audio.response, audio.item, audio.part, audio.start_ms, b"".join(packets), about, audio.output)

    def end(self) -> tuple[bytes, down.Tail]:
        first, encoder = self._first, self._encoder
        all_of_it = -(-(encoder.priming + self._position) // self._samples)
        packets = self._due(encoder.flush())[: all_of_it - self._packet]
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

    def _due(self, made: list[Coded]) -> list[bytes]:
        """Of what the encoder gives now, what the client does not have yet."""
        early = self._packet - self._made
        self._made += len(made)
        return [packet.data for packet in made[max(0, early) :]]

    def _early_with(self, frames: int) -> bool:
        """Whether the first packet that is heard has gone ahead of the encoder: it needs its own frame and the next one."""
        return bool(self._looks_ahead) and frames == 2

    def _begins(self) -> int:
        return self._packet * self._samples - self._encoder.priming
