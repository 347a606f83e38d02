"""PURE. The index of an MP4 family file (M4A, MP4, MOV, 3GP): which tracks it has, and how long they really are.

ISO 14496-12. A file is a tree of boxes: 4 bytes of size (1: 8 more follow the type; 0: to the end), 4 of type, then
the content. Read here is only what tells the exact length of the recording,

    moov ─ mvhd                  ticks a second of the movie
         ├ trak ─ edts ─ elst    which part of the media is played: the encoder's priming, and a cut
         │      └ mdia ─ mdhd    ticks a second of the track, and how many it has
         │             ├ hdlr    sound, picture, text …
         │             └ minf ─ stbl ─ stsd    the codec

         └ udta ─ meta ─ ilst    what iTunes wrote before it wrote edit lists: `iTunSMPB`

and nothing is believed: a box reaches no further than the one around it, a count no further than the bytes that are
there, all boxes together are at most `MAX_BOXES`. So the work and the memory are bounded by the bytes given, and any
damage ends in `Mp4Error`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from transcoder.demux.boxes import Budget, Mp4Error, field, find, walk
from transcoder.trim import Span

__all__ = ["Edit", "Movie", "Mp4Error", "Track", "read_movie", "recorded"]

MAX_BOXES = 4096
"""All boxes that may be looked at. A phone's recording has some 30; a fragment a second for an hour is 14,400 boxes,
but only its top level is seen here: see `_TOP_LEVEL_BOXES`."""

_TOP_LEVEL_BOXES = 65_536
"""Boxes on the top level, each stepped over unread: `moof` and `mdat` of a fragmented file. 20 ms of work. All of
them are counted, for libavformat walks them all, and takes seconds for the millions that fit into a file."""

MAX_TRACKS = 64
MAX_EDITS = 256


@dataclass(frozen=True, slots=True)
class Edit:
    """One line of an edit list: play `duration` (ticks of the movie; 0: to the end) from `media_time` on."""

    duration: int
    media_time: int
    """Ticks of the track; -1: play nothing, so long."""


@dataclass(frozen=True, slots=True)
class Gapless:
    """iTunes's own way to say what was recorded, in ticks of the track; where there is no edit list."""

    priming: int
    padding: int
    recorded: int


@dataclass(frozen=True, slots=True)
class Track:
    handler: str
    """"soun", "vide", "text", …"""
    codec: str
    """The sample entry's type: "mp4a", "alac", "samr"; "" when there is none."""
    timescale: int
    """Ticks a second."""
    duration: int | None
    """Ticks, priming and all; None when the header does not say (fragmented files)."""
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Movie:
    brand: str
    """The major brand: "M4A ", "isom", "3gp4", "qt  "; "" without an `ftyp`."""
    timescale: int
    tracks: tuple[Track, ...]
    fragmented: bool
    gapless: Gapless | None = None


def read_movie(data: bytes) -> Movie:
    """The index of a whole file. Raises Mp4Error, and nothing else."""
    brand, moov, cut_off = "", None, False
    for kind, content, whole in walk(memoryview(data), Budget(_TOP_LEVEL_BOXES), strict=False):
        if kind == b"ftyp" and not brand:
            brand = bytes(content[:4]).decode("latin-1")
        if moov is None:
            cut_off = not whole
            if kind == b"moov":
                moov = content
    if moov is None:
        raise Mp4Error("it ends before its index (moov): it was cut off" if cut_off else "it has no index (moov)")
    if cut_off:
        raise Mp4Error("it ends within its index (moov): it was cut off")
    return _read_moov(moov, brand)


def recorded(movie: Movie, track: Track) -> Span:
    """The part of the track that was recorded.

    Its length is `mdhd.duration - elst.media_time`: both count in ticks of the track, usually one a sample, so it
    is exact. The edit's own duration counts in ticks of the movie, often of 1 ms (FFmpeg) or 1/600 s (QuickTime) and
    rounded up or down. It is believed only where it is shorter by more than such a rounding can be: there somebody
    cut the end, or left it to the edit to drop the padding of the last packet, as Apple's encoders do (QuickTime File
    Format, appendix G).

    Without an edit list `iTunSMPB` is believed if it adds up. Without either (Android's recorder) all of it was recorded.
    Empty edits delay a track against its picture; there is no picture here, so they are passed over. Of several parts the
    first is taken, and up to the end of the media where more follow: what an editor cut out is heard, rather than what it
    kept being lost.
    """
    parts = [edit for edit in track.edits if edit.media_time >= 0]
    if not parts:
        told = movie.gapless
        if told is not None and told.priming + told.recorded + told.padding == track.duration:
            return _span(track, told.priming, told.priming + told.recorded)
        return Span(0, track.duration, track.timescale)
    start, stop = parts[0].media_time, track.duration
    if stop is not None and start >= stop:
        return Span(0, stop, track.timescale)
    if len(parts) == 1 and parts[0].duration and movie.timescale:
        shown = _ceil_div(parts[0].duration * track.timescale, movie.timescale)
        tick = _ceil_div(track.timescale, movie.timescale)
        if stop is None or start + shown + tick < stop:
            stop = start + shown
    return _span(track, start, stop)


def _span(track: Track, start: int, stop: int | None) -> Span:
    if track.codec != "mp4a" or stop is None or track.duration is None:
        return Span(start, stop, track.timescale)
    return Span(start, stop, track.timescale, track.duration - stop)


def _read_moov(moov: memoryview, brand: str) -> Movie:
    budget = Budget(MAX_BOXES)
    timescale, fragmented, gapless = 0, False, None
    tracks: list[Track] = []
    for kind, content, _ in walk(moov, budget):
        match kind:
            case b"mvhd":
                timescale, _ = _timescale_and_duration(content, "mvhd")
            case b"trak":
                if len(tracks) == MAX_TRACKS:
                    raise Mp4Error(f"it has more than {MAX_TRACKS} tracks")
                tracks.append(_read_trak(content, budget))
            case b"mvex":
                fragmented = True
            case b"udta":
                gapless = _read_gapless(content, budget) or gapless
            case b"cmov":
                raise Mp4Error("its index is compressed (cmov), which nobody has written since 2001")
    return Movie(brand, timescale, tuple(tracks), fragmented, gapless)


def _read_gapless(udta: memoryview, budget: Budget) -> Gapless | None:
    """A free-form tag called iTunSMPB: hexadecimal numbers, of which the second to fourth are meant. None for anything else.

    Tags are no reason to refuse a file: damage among them is as good as none.
    """
    try:
        if (meta := find(udta, b"meta", budget)) is None or (ilst := find(meta[4:], b"ilst", budget)) is None:
            return None
        for kind, tag, _ in walk(ilst, budget):
            if kind == b"----" and (name := find(tag, b"name", budget)) is not None and bytes(name[4:]) == b"iTunSMPB":
                numbers = bytes(find(tag, b"data", budget) or b"")[8:128].split()[1:4]
                priming, padding, recorded = (int(number, 16) for number in numbers)
                return Gapless(priming, padding, recorded) if recorded > 0 and min(priming, padding) >= 0 else None
    except ValueError:
        return None
    return None


def _read_trak(trak: memoryview, budget: Budget) -> Track:
    handler, codec, timescale, duration = "", "", 0, None
    edits: tuple[Edit, ...] = ()
    for kind, content, _ in walk(trak, budget):
        if kind == b"edts":
            if (elst := find(content, b"elst", budget)) is not None:
                edits = _read_elst(elst)
        elif kind == b"mdia":
            for part, box, _ in walk(content, budget):
                if part == b"mdhd":
                    timescale, duration = _timescale_and_duration(box, "mdhd")
                elif part == b"hdlr":
                    handler = bytes(field(box, 8, 4, "hdlr")).decode("latin-1")
                elif part == b"minf":
                    codec = _read_codec(box, budget)
    if timescale == 0:
        raise Mp4Error("a track of it has no time base (mdhd)")
    return Track(handler, codec, timescale, duration, edits)


def _read_codec(minf: memoryview, budget: Budget) -> str:
    """The type of the first sample entry; "" where there is none."""
    if (stbl := find(minf, b"stbl", budget)) is None or (stsd := find(stbl, b"stsd", budget)) is None:
        return ""
    (count,) = struct.unpack(">I", field(stsd, 4, 4, "stsd"))
    return bytes(field(stsd, 12, 4, "stsd")).decode("latin-1") if count else ""


def _read_elst(elst: memoryview) -> tuple[Edit, ...]:
    """Version 1 has fields of 64 bits; each line ends with a playing speed, which is not looked at."""
    version, count = struct.unpack(">B3xI", field(elst, 0, 8, "elst"))
    line = struct.Struct(">QqI" if version == 1 else ">IiI")
    count = min(count, MAX_EDITS, (len(elst) - 8) // line.size)
    lines = (line.unpack_from(elst, 8 + line.size * number) for number in range(count))
    return tuple(Edit(duration, media_time) for duration, media_time, _ in lines)


def _timescale_and_duration(header: memoryview, name: str) -> tuple[int, int | None]:
    """Of `mvhd` and `mdhd`, which begin alike. A duration of 0 or of all ones is not known."""
    wide = bytes(field(header, 0, 1, name)) == b"\x01"
    layout, at, unknown = (">IQ", 20, 2**64 - 1) if wide else (">II", 12, 2**32 - 1)
    timescale, duration = struct.unpack(layout, field(header, at, struct.calcsize(layout), name))
    return timescale, None if duration in (0, unknown) else duration


def _ceil_div(value: int, by: int) -> int:
    return -(-value // by)
