"""PURE. Fragmented MP4 as a MediaRecorder writes it: an index without samples, then fragments that bring them.

ISO 14496-12, section 8.8. `moov` says which tracks there are; each `moof` lists the samples of the `mdat` behind it: where
they begin, how large and how long each is. A sample is given as soon as its last byte is there. Counts and sizes are
believed as far as the bytes that list them reach, and no further.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, replace
from dataclasses import field as kept

from transcoder.demux.boxes import Budget, Mp4Error, field, find, walk
from transcoder.demux.mp4 import Edit, Movie, read_movie, recorded
from transcoder.demux.packets import MAX_ELEMENT_BYTES, Damage, DemuxError, Event, Packet, Track

MAX_BOXES = 512
"""Within one `moof`. A recorder's has six."""

_MAX_SAMPLES = 1 << 16
"""Waiting for their bytes at one time."""

_OPUS_RATE = 48_000
_FOLDED = frozenset({b"moov", b"moof"})
_MDAT = b"mdat"
_PASSED_OVER = frozenset({b"styp", b"ftyp", b"sidx", b"ssix", b"emsg", b"prft", b"free", b"skip", b"uuid", b"mfra", b"pdin"})
"""What may stand between the fragments of a recording. Anything else is damage: bytes that are missing turn what follows
into boxes of any size, and to pass over one would be to lose minutes."""


@dataclass(frozen=True, slots=True)
class _Defaults:
    """What a fragment leaves out (`trex`, then `tfhd`)."""

    duration: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class _Sample:
    at: int
    """its first byte, counted from the start of the stream"""
    size: int
    ticks: int | None
    duration: int


@dataclass
class FragmentedDemuxer:
    """The first audio track of a stream."""

    _buffer: bytearray = kept(default_factory=bytearray)
    _at: int = 0
    """where the buffer begins, counted from the start of the stream"""
    _box_left: int = 0
    """bytes of a box that is not taken whole, still to come"""
    _in_mdat: bool = False
    _endless: bool = False
    """the last box has no size: it goes on to the end"""
    _track: Track | None = None
    _track_id: int = 0
    _timescale: int = 1
    _defaults: _Defaults = _Defaults()
    _ticks: int = 0
    """where the next fragment begins, unless it says so"""
    _samples: deque[_Sample] = kept(default_factory=deque)
    _lost: bool = False

    def feed(self, chunk: bytes) -> list[Event]:
        self._buffer += chunk
        events: list[Event] = []
        while self._step(events):
            pass
        return events

    def close(self) -> list[Event]:
        events: list[Event] = []
        if self._samples or self._buffer or (self._box_left and not self._endless):
            events.append(Damage("the last fragment is not complete"))
        self._buffer = bytearray()
        return events

    def resync(self) -> None:
        self._buffer.clear()
        self._samples.clear()
        self._box_left, self._endless, self._lost = 0, False, True

    # ── boxes ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _step(self, events: list[Event]) -> bool:
        if self._box_left or self._endless:
            return self._content(events)
        if self._lost and not self._find():
            return False
        buffer = self._buffer
        if len(buffer) < 8:
            return False
        size, kind = struct.unpack_from(">I4s", buffer)
        header = 8
        if size == 1:
            if len(buffer) < 16:
                return False
            (size,) = struct.unpack_from(">Q", buffer, 8)
            header = 16
        if (size and size < header) or not _is_name(kind):
            return self._broken(events, "what should be a box is none")
        if kind in _FOLDED:
            if size > MAX_ELEMENT_BYTES or size == 0:
                return self._broken(events, f"an index of {size} bytes")
            if len(buffer) < size:
                return False
            content, start = bytes(buffer[header:size]), self._at
            whole = bytes(buffer[:size])
            self._drop(size)
            self._index(kind, content, whole, start, events)
            return True
        if kind != _MDAT and self._track is not None and (kind not in _PASSED_OVER or size > MAX_ELEMENT_BYTES):
            return self._broken(events, f"there is no box of {size} bytes between fragments that is called so")
        if kind == _MDAT and self._track is None:
            raise DemuxError("this MP4 stream has sound before its index: it can only be read as a whole file")
        self._drop(header)
        self._in_mdat = kind == _MDAT
        self._endless = size == 0
        self._box_left = max(0, size - header)
        return True

    def _content(self, events: list[Event]) -> bool:
        """Of a box that is not taken whole: its samples are, all else is passed over."""
        buffer = self._buffer
        end = self._at + len(buffer) if self._endless else self._at + self._box_left
        while self._in_mdat and self._samples:
            sample = self._samples[0]
            if sample.at < self._at or (sample.at + sample.size > end and not self._endless):
                self._samples.popleft()
                events.append(Damage("a sample lies outside of its fragment"))
                continue
            if sample.at + sample.size > self._at + len(buffer):
                self._pass(min(sample.at, self._at + len(buffer)) - self._at)
                return False
            self._pass(sample.at - self._at)
            self._samples.popleft()
            events.append(self._packet(sample, bytes(buffer[: sample.size])))
            self._pass(sample.size)
        gone = min(len(buffer), len(buffer) if self._endless else self._box_left)
        self._pass(gone)
        return bool(buffer) and not self._endless

    def _pass(self, size: int) -> None:
        self._drop(size)
        if not self._endless:
            self._box_left -= size

    def _drop(self, size: int) -> None:
        del self._buffer[:size]
        self._at += size

    def _broken(self, events: list[Event], why: str) -> bool:
        if self._track is None:
            raise DemuxError(f"this MP4 stream cannot be read: {why}")
        events.append(Damage(why))
        self._drop(1)
        self._samples.clear()
        self._lost = True
        return True

    def _find(self) -> bool:
        """Go to the next fragment."""
        at = self._buffer.find(b"moof")
        if at < 4:
            self._drop(at + 4 if at >= 0 else max(0, len(self._buffer) - 7))
            return False if at < 0 else self._find()
        self._drop(at - 4)
        self._lost = False
        return True

    # ── indices ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _index(self, kind: bytes, content: bytes, whole: bytes, start: int, events: list[Event]) -> None:
        try:
            if kind == b"moov":
                if self._track is None:
                    events.append(self._begin(content, whole))
            elif self._track is None:
                raise DemuxError("this MP4 stream has fragments before its index")
            else:
                self._fragment(memoryview(content), start, start + len(whole))
        except (Mp4Error, struct.error) as error:
            if self._track is None:
                raise DemuxError(f"the index of this MP4 stream is damaged: {error}") from None
            events.append(Damage(f"a fragment's index is damaged: {error}"))

    def _begin(self, moov: bytes, whole: bytes) -> Track:
        movie = read_movie(whole)
        budget = Budget(MAX_BOXES)
        traks = [box for kind, box, _ in walk(memoryview(moov), budget) if kind == b"trak"]
        number = next((n for n, track in enumerate(movie.tracks) if track.handler == "soun"), None)
        if number is None:
            raise DemuxError("there is no audio track in this MP4 stream")
        found = movie.tracks[number]
        self._timescale = found.timescale
        self._track_id = _track_id(traks[number], budget)
        self._defaults = _trex(memoryview(moov), self._track_id, budget)
        # A live recording does not know how long it is: of a fragmented movie only the priming counts.
        live = replace(found, edits=tuple(Edit(0, edit.media_time) for edit in found.edits), duration=None)
        span = recorded(Movie(movie.brand, movie.timescale, (live,), movie.fragmented), live)
        track = _describe(traks[number], found.codec, budget)
        priming = round(span.start * track.sample_rate / self._timescale)
        self._track = replace(track, priming=max(priming, track.priming))
        return self._track

    def _fragment(self, moof: memoryview, start: int, end: int) -> None:
        budget = Budget(MAX_BOXES)
        for kind, traf, _ in walk(moof, budget):
            if kind == b"traf":
                self._track_fragment(traf, start, end, budget)

    def _track_fragment(self, traf: memoryview, start: int, end: int, budget: Budget) -> None:
        if (header := find(traf, b"tfhd", budget)) is None:
            return
        base, defaults = _tfhd(header, start, self._defaults, self._track_id)
        if defaults is None:
            return
        if (time := find(traf, b"tfdt", budget)) is not None:
            wide = bytes(field(time, 0, 1, "tfdt")) == b"\1"
            (self._ticks,) = struct.unpack(">Q" if wide else ">I", field(time, 4, 8 if wide else 4, "tfdt"))
        at: int | None = None
        for kind, run, _ in walk(traf, budget):
            if kind == b"trun":
                at = self._run(run, base, end + 8 if at is None else at, defaults)

    def _run(self, run: memoryview, base: int, at: int, defaults: _Defaults) -> int:
        """The samples that one `trun` lists; where the next one's begin."""
        flags, count = struct.unpack(">II", field(run, 0, 8, "trun"))
        flags &= 0xFFFFFF
        place = 8
        if flags & 1:
            (offset,) = struct.unpack(">i", field(run, place, 4, "trun"))
            at, place = base + offset, place + 4
        place += 4 if flags & 4 else 0
        line = 4 * bin(flags & 0xF00).count("1")
        if count * line > len(run) - place or (not line and count > _MAX_SAMPLES):
            raise Mp4Error("it lists more samples than it has room for")
        if len(self._samples) + count > _MAX_SAMPLES:
            raise Mp4Error("it lists far too many samples")
        for _ in range(count):
            duration, size, here = defaults.duration, defaults.size, place
            if flags & 0x100:
                (duration,) = struct.unpack_from(">I", run, here)
                here += 4
            if flags & 0x200:
                (size,) = struct.unpack_from(">I", run, here)
            place += line
            if size > MAX_ELEMENT_BYTES:
                raise Mp4Error(f"a sample has {size} bytes")
            self._samples.append(_Sample(at, size, self._ticks, duration))
            at += size
            self._ticks += duration
        return at

    def _packet(self, sample: _Sample, data: bytes) -> Packet:
        return Packet(data, None if sample.ticks is None else sample.ticks / self._timescale)


def _is_name(kind: bytes) -> bool:
    return all(32 <= byte < 127 or byte == 0xA9 for byte in kind)


def _track_id(trak: memoryview, budget: Budget) -> int:
    if (tkhd := find(trak, b"tkhd", budget)) is None:
        raise Mp4Error("a track of it has no header (tkhd)")
    at = 20 if bytes(field(tkhd, 0, 1, "tkhd")) == b"\1" else 12
    return int.from_bytes(field(tkhd, at, 4, "tkhd"), "big")


def _trex(moov: memoryview, track_id: int, budget: Budget) -> _Defaults:
    if (mvex := find(moov, b"mvex", budget)) is None:
        raise DemuxError("this MP4 stream has no fragments: it can only be read as a whole file")
    for kind, trex, _ in walk(mvex, budget):
        if kind == b"trex" and int.from_bytes(field(trex, 4, 4, "trex"), "big") == track_id:
            duration, size = struct.unpack(">II", field(trex, 12, 8, "trex"))
            return _Defaults(duration, size)
    return _Defaults()


def _tfhd(header: memoryview, start: int, defaults: _Defaults, track_id: int) -> tuple[int, _Defaults | None]:
    """Where offsets count from, and the defaults; None when it is another track's."""
    flags, found = struct.unpack(">II", field(header, 0, 8, "tfhd"))
    if found != track_id:
        return start, None
    base, place, duration, size = start, 8, defaults.duration, defaults.size
    if flags & 1:
        (base,) = struct.unpack(">Q", field(header, place, 8, "tfhd"))
        place += 8
    place += 4 if flags & 2 else 0
    if flags & 8:
        (duration,) = struct.unpack(">I", field(header, place, 4, "tfhd"))
        place += 4
    if flags & 16:
        (size,) = struct.unpack(">I", field(header, place, 4, "tfhd"))
    return base, _Defaults(duration, size)


def _describe(trak: memoryview, codec: str, budget: Budget) -> Track:
    """The codec and what its decoder wants to know beforehand."""
    stsd = trak
    for name in (b"mdia", b"minf", b"stbl", b"stsd"):
        if (inner := find(stsd, name, budget)) is None:
            raise Mp4Error("a track of it has no sample description")
        stsd = inner
    size = int.from_bytes(field(stsd, 8, 4, "stsd"), "big")
    entry = stsd[8 : 8 + size]
    channels = int.from_bytes(field(entry, 24, 2, "stsd"), "big") or 1
    rate = int.from_bytes(field(entry, 32, 2, "stsd"), "big")
    boxes = {kind: content for kind, content, _ in walk(entry[36:], budget)}
    match codec:
        case "mp4a" if b"esds" in boxes:
            return Track("aac", rate or 44_100, channels, _audio_specific_config(boxes[b"esds"]))
        case "Opus" if b"dOps" in boxes:
            return _opus(boxes[b"dOps"])
        case "fLaC" if b"dfLa" in boxes:
            return Track("flac", rate or 48_000, channels, bytes(boxes[b"dfLa"][8:42]))
        case "alac" if b"alac" in boxes:
            cookie = bytes(boxes[b"alac"])
            return Track("alac", rate or 44_100, channels, struct.pack(">I4s", len(cookie) + 8, b"alac") + cookie)
    raise DemuxError(f"the sound in this MP4 stream is coded as {codec or 'nothing known'}, which is not taken here")


def _opus(dops: memoryview) -> Track:
    """OpusHead says the same, little-endian and with a name before it (RFC 7845, section 5.1)."""
    version, channels, skip, rate, gain, family = struct.unpack(">BBHIhB", field(dops, 0, 11, "dOps"))
    if version or not channels:
        raise Mp4Error("its Opus header (dOps) is damaged")
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, channels, skip, rate, gain, family) + bytes(dops[11:])
    return Track("opus", _OPUS_RATE, channels, head, skip)


def _audio_specific_config(esds: memoryview) -> bytes:
    """From the descriptors (ISO 14496-1, section 7.2.6): 3 holds 4 holds 5, which is it."""
    data, at = bytes(esds), 4
    while at < len(data):
        tag, at = data[at], at + 1
        size = 0
        for _ in range(4):
            if at >= len(data):
                raise Mp4Error("its decoder description (esds) is cut off")
            size, more, at = size << 7 | data[at] & 127, data[at] & 128, at + 1
            if not more:
                break
        if tag == 5:
            return data[at : at + size]
        if tag == 3:
            flags = data[at + 2] if at + 2 < len(data) else 0
            at += 3 + (2 if flags & 0x80 else 0) + (2 if flags & 0x20 else 0)
        elif tag == 4:
            at += 13
        else:
            at += size
    raise Mp4Error("its decoder description (esds) holds no AAC configuration")
