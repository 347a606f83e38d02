"""NO I/O. A whole file's bytes → PCM the model understands: sniff, plan, decode, resample, all within the limits.

It runs in a decoder child (`transcoder.child`): nobody else hands hostile bytes to a codec library. A further
container is a further plan in `_PLANS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from transcoder.decoded import BYTES_PER_SAMPLE, SAMPLE_RATE, Decoded, SourceInfo
from transcoder.decoder import FileDecoder
from transcoder.demux import mp4
from transcoder.errors import BrokenMedia, Empty, NotAudio, TooLarge, TooLong, UnsupportedMedia
from transcoder.limits import MAX_FILE_BYTES
from transcoder.resampler import Resampler
from transcoder.sniffer import Kind, sniff
from transcoder.trim import Span

ADVICE = "send M4A/MP4 (AAC), or raw PCM16 of 24 kHz declared as input_format=pcm16"

PROGRESS_EVERY_S = 5.0
"""Seconds of audio between two calls of `on_progress`: some 10 ms of work."""

MAX_SKIPPED_S = 60
"""What an edit list may leave out at the start. It has to be decoded all the same, and nobody is charged for it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to open a file whose kind is known."""

    container: str
    """What to call it: `SourceInfo.container`."""
    demuxer: str
    """libavformat's name of the one demuxer that may see it."""
    codecs: frozenset[str]
    """libavcodec's names of the decoders that may."""
    span: Span


def decode_file(data: bytes, *, max_seconds: float, on_progress: Callable[[float], None] | None = None) -> Decoded:
    """The whole file as PCM, or a MediaError that names what was found.

    Stops as soon as more than `max_seconds` are decoded, and never holds more than that. `on_progress` is told the
    seconds decoded so far, each `PROGRESS_EVERY_S`.
    """
    plan = _plan(data)
    declared_s = plan.span.duration_s
    if declared_s is not None and declared_s > max_seconds:
        raise TooLong(declared_s, max_seconds)
    decoder = FileDecoder(data, plan.demuxer, plan.codecs, plan.span)
    pcm = _collect(decoder, max_seconds, on_progress or (lambda _: None))
    if not decoder.duration_s:
        raise BrokenMedia(f"nothing in this {plan.container} file could be decoded; record it again")
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


def _plan(data: bytes) -> Plan:
    if len(data) > MAX_FILE_BYTES:
        raise TooLarge(len(data), MAX_FILE_BYTES)
    kind = sniff(data)
    if kind is Kind.NOTHING:
        raise Empty
    if (plan := _PLANS.get(kind)) is not None:
        return plan(data)
    if kind.is_media:
        raise UnsupportedMedia(f"this is {kind.value}, which is not taken yet; {ADVICE}")
    raise NotAudio(f"this is {kind.value}, and no audio file; {ADVICE}")


_MP4_DEMUXER = "mov"
_MP4_CODECS = {"mp4a": frozenset({"aac"}), "alac": frozenset({"alac"}), "samr": frozenset({"amrnb"})}
"""Sample entry → decoders. (`mp4a` may also hold MP3; then libavformat names a codec that is not on the list.)"""

_MP4_NAMES = {
    "Opus": "Opus", "fLaC": "FLAC", "ac-3": "AC-3", "ec-3": "E-AC-3", "sawb": "AMR wideband", "sowt": "PCM",
    "twos": "PCM", "lpcm": "PCM", "ipcm": "PCM", ".mp3": "MP3", "enca": "encrypted audio", "drms": "protected audio",
}  # fmt: skip


def _plan_mp4(data: bytes) -> Plan:
    """The first audio track; pictures (cover art, video) and other tracks are passed over."""
    try:
        movie = mp4.read_movie(data)
    except mp4.Mp4Error as error:
        raise BrokenMedia(f"this M4A/MP4 file is damaged: {error}; record or send it again") from error
    container = _mp4_container(movie.brand)
    name = f"{'a' if container == '3gp' else 'an'} {container.upper()}"
    track = next((track for track in movie.tracks if track.handler == "soun"), None)
    if track is None:
        found = ", ".join(sorted({_HANDLERS.get(track.handler, "data") for track in movie.tracks})) or "no track at all"
        raise NotAudio(f"this is {name} file without an audio track (it has {found}); {ADVICE}")
    if track.codec not in _MP4_CODECS:
        codec = _MP4_NAMES.get(track.codec) or f"a codec called {track.codec!r}"
        raise UnsupportedMedia(f"this is {name} file with {codec}, which is not taken yet; {ADVICE}")
    span = mp4.recorded(movie, track)
    if span.start > MAX_SKIPPED_S * span.timescale:
        raise UnsupportedMedia(
            f"this {container.upper()} file's sound begins {span.start / span.timescale:.0f} s into the media, "
            f"and {MAX_SKIPPED_S} s may be passed over; send it as a recording of its own"
        )
    return Plan(container, _MP4_DEMUXER, _MP4_CODECS[track.codec], span)


_HANDLERS = {"vide": "video", "text": "text", "sbtl": "subtitles", "subt": "subtitles", "tmcd": "a time code"}


def _mp4_container(brand: str) -> str:
    if brand.startswith("3g"):
        return "3gp"
    return {"M4A ": "m4a", "M4B ": "m4a", "qt  ": "mov"}.get(brand, "mp4")


_PLANS: dict[Kind, Callable[[bytes], Plan]] = {Kind.MP4: _plan_mp4}
