"""PURE. How to open a whole file: which one demuxer may see it, which decoders may run, and which part was recorded.

A further container is a further plan in `_PLANS`. What our own demuxers of streams read exactly goes through them, whole or
not; the rest goes to one named demuxer of libavformat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from transcoder.demux import caf, lean, mp4, wav
from transcoder.demux.ogg import vorbis_span
from transcoder.errors import BrokenMedia, Empty, NotAudio, TooLarge, UnsupportedMedia
from transcoder.limits import MAX_FILE_BYTES
from transcoder.sniffer import Kind, sniff
from transcoder.trim import Span

ADVICE = (
    "send M4A/MP4, 3GP, CAF, WAV, FLAC, MP3, AAC (ADTS), AMR, Ogg, WebM, AIFF or AU, "
    "or raw PCM16 of 24 kHz declared as input_format=pcm16"
)

MAX_SKIPPED_S = 60
"""What an edit list may leave out at the start. It has to be decoded all the same, and nobody is charged for it."""

_ALL = Span(0, None, 1)

_MAX_TAG_BYTES = 16_384
"""Where they cannot be left out."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to open a file whose kind is known."""

    container: str
    """What to call it: `SourceInfo.container`."""
    demuxer: str
    """libavformat's name of the one demuxer that may see it."""
    codecs: frozenset[str]
    """libavcodec's names of the decoders that may."""
    span: Span = _ALL
    lean: Callable[[bytes], bytes] = lambda data: data
    """what it may see of the file"""


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """It goes through the demuxer that reads it as it comes (`transcoder.stream`)."""

    container: str
    most: Span = _ALL
    """what it plays at most"""


def plan_for(data: bytes) -> Plan | StreamPlan:
    """Raises a MediaError that names what was found."""
    if len(data) > MAX_FILE_BYTES:
        raise TooLarge(len(data), MAX_FILE_BYTES)
    kind = sniff(data)
    if kind is Kind.NOTHING:
        raise Empty
    if (plan := _PLANS.get(kind)) is not None:
        return plan(data)
    if kind.is_media:
        raise UnsupportedMedia(f"this is {kind.value}, which is not taken; {ADVICE}")
    raise NotAudio(f"this is {kind.value}, and no audio file; {ADVICE}")


# ── MP4 and its family ──────────────────────────────────────────────────────────────────────────────────────────────────

_MP4_CODECS = {
    "mp4a": frozenset({"aac", "mp3", "mp3float"}),
    ".mp3": frozenset({"mp3", "mp3float"}),
    "alac": frozenset({"alac"}),
    "samr": frozenset({"amrnb"}),
    "sawb": frozenset({"amrwb"}),
    "Opus": frozenset({"opus"}),
    "fLaC": frozenset({"flac"}),
    "sowt": frozenset({"pcm_s16le", "pcm_s8"}),
    "twos": frozenset({"pcm_s16be", "pcm_s8"}),
    "in24": frozenset({"pcm_s24be", "pcm_s24le"}),
    "fl32": frozenset({"pcm_f32be", "pcm_f32le"}),
    "lpcm": frozenset({"pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_f32le", "pcm_f32be"}),
    "ipcm": frozenset({"pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le"}),
    "fpcm": frozenset({"pcm_f32le", "pcm_f32be"}),
    "ulaw": frozenset({"pcm_mulaw"}),
    "alaw": frozenset({"pcm_alaw"}),
}
"""Sample entry → decoders."""

_MP4_NAMES = {"ac-3": "AC-3", "ec-3": "E-AC-3", "enca": "encrypted audio", "drms": "protected audio"}
_HANDLERS = {"vide": "video", "text": "text", "sbtl": "subtitles", "subt": "subtitles", "tmcd": "a time code"}


def _mp4(data: bytes) -> Plan | StreamPlan:
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
        raise UnsupportedMedia(f"this is {name} file with {codec}, which is not taken; {ADVICE}")
    if movie.fragmented and track.codec == "Opus":
        return StreamPlan(container)  # without an edit list only Opus's own header knows the priming
    span = _believable(mp4.recorded(movie, track), container.upper())
    return Plan(container, "mov", _MP4_CODECS[track.codec], span, _lean_mp4)


def _lean_mp4(data: bytes) -> bytes:
    try:
        return lean.mp4(data)
    except mp4.Mp4Error as error:
        raise BrokenMedia(f"this M4A/MP4 file is damaged: {error}; record or send it again") from error


def _mp4_container(brand: str) -> str:
    if brand.startswith("3g"):
        return "3gp"
    return {"M4A ": "m4a", "M4B ": "m4a", "qt  ": "mov"}.get(brand, "mp4")


def _believable(span: Span, name: str) -> Span:
    if span.start > MAX_SKIPPED_S * span.timescale:
        raise UnsupportedMedia(
            f"this {name} file's sound begins {span.start / span.timescale:.0f} s into the media, "
            f"and {MAX_SKIPPED_S} s may be passed over; send it as a recording of its own"
        )
    return span


# ── CAF, WAV and their like ─────────────────────────────────────────────────────────────────────────────────────────────

_PLAIN = frozenset(
    {
        "pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be",
        "pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_mulaw", "pcm_alaw",
    }
)  # fmt: skip
_WAV_CODECS = _PLAIN | {"adpcm_ms", "adpcm_ima_wav"}
_CAF_CODECS = {
    "lpcm": _PLAIN,
    "ulaw": _PLAIN,
    "alaw": _PLAIN,
    "alac": frozenset({"alac"}),
    "aac ": frozenset({"aac"}),
    "aach": frozenset({"aac"}),
    "aacp": frozenset({"aac"}),
    "opus": frozenset({"opus"}),
    "ima4": frozenset({"adpcm_ima_qt"}),
}


def _caf(data: bytes) -> Plan:
    try:
        head = caf.read_head(data)
    except caf.CafError as error:
        raise BrokenMedia(f"this CAF file is damaged: {error}; record or send it again") from error
    if head.codec not in _CAF_CODECS:
        raise UnsupportedMedia(f"this is a CAF file with a codec called {head.codec!r}, which is not taken; {ADVICE}")
    return Plan("caf", "caf", _CAF_CODECS[head.codec], _believable(head.span, "CAF"), lean.caf)


def _ogg(data: bytes) -> Plan | StreamPlan:
    """Of Speex libavformat knows the pages; what else may be in Ogg, we do."""
    if b"Speex   " not in data[:64]:
        return StreamPlan("ogg")
    if not 0 < _third_page(data) <= _MAX_TAG_BYTES:
        raise BrokenMedia("this Ogg file is damaged: its tags do not end; record it again")
    return Plan("ogg", "ogg", frozenset({"speex"}))


def _third_page(data: bytes) -> int:
    second = data.find(b"OggS", 4, _MAX_TAG_BYTES)
    return data.find(b"OggS", second + 4, _MAX_TAG_BYTES) if second >= 0 else -1


_PLANS: dict[Kind, Callable[[bytes], Plan | StreamPlan]] = {
    Kind.MP4: _mp4,
    Kind.CAF: _caf,
    Kind.WAV: lambda data: Plan("wav", "wav", _WAV_CODECS, wav.recorded(data), lean.wav),
    Kind.FLAC: lambda _: Plan("flac", "flac", frozenset({"flac"}), lean=lean.flac),
    Kind.AMR: lambda _: Plan("amr", "amr", frozenset({"amrnb", "amrwb"})),
    Kind.AIFF: lambda _: Plan("aiff", "aiff", _PLAIN, lean=lean.aiff),
    Kind.AU: lambda _: Plan("au", "au", _PLAIN),
    Kind.OGG_VORBIS: lambda data: StreamPlan("ogg", vorbis_span(data)),
    Kind.OGG_OPUS: lambda _: StreamPlan("ogg"),
    Kind.OGG: _ogg,
    Kind.WEBM: lambda _: StreamPlan("webm"),
    Kind.MATROSKA: lambda _: StreamPlan("matroska"),
    Kind.ADTS: lambda _: StreamPlan("adts"),
    Kind.MP3: lambda _: StreamPlan("mp3"),
}
