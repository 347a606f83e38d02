"""NO I/O. A whole file's bytes → PCM the model understands: plan, decode, resample, all within the limits.

It runs in a decoder child (`transcoder.child`): nobody else hands hostile bytes to a codec library.
"""

from __future__ import annotations

from collections.abc import Callable

from transcoder.decoded import BYTES_PER_SAMPLE, SAMPLE_RATE, Decoded, SourceInfo
from transcoder.decoder import FileDecoder
from transcoder.errors import BrokenMedia, TooLong
from transcoder.plans import Plan, StreamPlan, plan_for
from transcoder.resampler import Resampler
from transcoder.stream import StreamDecoder

PROGRESS_EVERY_S = 5.0
"""Seconds of audio between two calls of `on_progress`: some 10 ms of work."""

_PIECE_BYTES = 65_536
"""What a stream is fed with at a time. As silence it is many minutes, and stops at the limit all the same."""


def decode_file(data: bytes, *, max_seconds: float, on_progress: Callable[[float], None] | None = None) -> Decoded:
    """The whole file as PCM, or a MediaError that names what was found.

    Stops as soon as more than `max_seconds` are decoded, and never holds more than that. `on_progress` is told the
    seconds decoded so far, each `PROGRESS_EVERY_S`.
    """
    told = on_progress or (lambda _: None)
    plan = plan_for(data)
    if isinstance(plan, StreamPlan):
        return _decode_stream(data, plan, max_seconds, told)
    return _decode_container(data, plan, max_seconds, told)


def _decode_container(data: bytes, plan: Plan, max_seconds: float, on_progress: Callable[[float], None]) -> Decoded:
    declared_s = plan.span.duration_s
    if declared_s is not None and declared_s > max_seconds:
        raise TooLong(declared_s, max_seconds)
    decoder = FileDecoder(data, plan)
    pcm = _collect(decoder, max_seconds, on_progress)
    if not decoder.duration_s:
        raise _silent(plan.container)
    source = SourceInfo(plan.container, decoder.codec, decoder.sample_rate, decoder.channels, decoder.duration_s)
    return Decoded(pcm, source, decoder.lost_packets)


def _collect(decoder: FileDecoder, max_seconds: float, on_progress: Callable[[float], None]) -> bytes:
    resampler = Resampler()
    pcm = bytearray()
    told_s = 0.0
    for frame in decoder.frames():
        if decoder.duration_s > max_seconds:
            raise TooLong(decoder.duration_s, max_seconds, at_least=True)
        pcm += resampler.resample(frame)
        decoded_s = len(pcm) / (SAMPLE_RATE * BYTES_PER_SAMPLE)
        if decoded_s - told_s >= PROGRESS_EVERY_S:
            told_s = decoded_s
            on_progress(decoded_s)
    pcm += resampler.resample(None)
    return bytes(pcm)


def _decode_stream(data: bytes, plan: StreamPlan, max_seconds: float, on_progress: Callable[[float], None]) -> Decoded:
    """What is read as it comes, although all of it is there."""
    decoder = StreamDecoder()
    pcm = bytearray()
    damaged, told_s = 0, 0.0

    def left_s() -> float:
        """Half a sample more, which lets none through: seconds do not add up to the last bit."""
        return max(0.0, max_seconds - len(pcm) / (SAMPLE_RATE * BYTES_PER_SAMPLE)) + 0.5 / SAMPLE_RATE

    try:
        for at in range(0, len(data), _PIECE_BYTES):
            heard = decoder.feed(data[at : at + _PIECE_BYTES], max_seconds=left_s())
            pcm += heard.pcm
            damaged += heard.damaged
            decoded_s = len(pcm) / (SAMPLE_RATE * BYTES_PER_SAMPLE)
            if decoded_s - told_s >= PROGRESS_EVERY_S:
                told_s = decoded_s
                on_progress(decoded_s)
        heard = decoder.close(max_seconds=left_s())
    except TooLong as error:
        found_s = error.found_s + len(pcm) / (SAMPLE_RATE * BYTES_PER_SAMPLE)
        raise TooLong(found_s, max_seconds, at_least=True) from None
    pcm += heard.pcm
    if plan.most.duration_s is not None:
        del pcm[round(plan.most.duration_s * SAMPLE_RATE) * BYTES_PER_SAMPLE :]
    duration_s = len(pcm) / (SAMPLE_RATE * BYTES_PER_SAMPLE)
    if duration_s > max_seconds + 0.5 / SAMPLE_RATE:  # by what was held back
        raise TooLong(duration_s, max_seconds)
    track = decoder.track
    if track is None or not pcm:
        raise _silent(plan.container)
    source = SourceInfo(plan.container, track.pcm or track.codec, track.sample_rate, track.channels, duration_s)
    return Decoded(bytes(pcm), source, damaged + heard.damaged)


def _silent(container: str) -> BrokenMedia:
    return BrokenMedia(f"nothing in this {container.upper()} file could be decoded; record it again")
