"""PURE. WebM and Matroska as a MediaRecorder writes them: element by element, whatever the chunks are.

RFC 9559; the elements it is made of are in `ebml.py`. A live recording's Segment and Clusters have an unknown size, and each
chunk ends wherever it ends (Chromium's one byte into the next element). So the levels are not followed: Segment and Cluster
are stepped into, the few elements that matter are taken whole, all others are passed over as their bytes come. After damage
the next Cluster's id is looked for, or a block that another element follows: a recorder may write one Cluster for half a
minute.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from transcoder.demux.ebml import UNKNOWN, Broken, children, read_float, read_header, read_number, read_signed, read_vint
from transcoder.demux.packets import MAX_ELEMENT_BYTES, MAX_IDLE_ELEMENTS, Codec, Damage, DemuxError, Event, Packet, Track

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_INFO, _TIMESTAMP_SCALE = 0x1549A966, 0x2AD7B1
_TRACKS, _TRACK_ENTRY, _NUMBER, _TYPE, _CODEC_ID, _CODEC_PRIVATE = 0x1654AE6B, 0xAE, 0xD7, 0x83, 0x86, 0x63A2
_CODEC_DELAY = 0x56AA
_AUDIO, _SAMPLING_FREQUENCY, _CHANNELS, _BIT_DEPTH = 0xE1, 0xB5, 0x9F, 0x6264
_TIMESTAMP, _SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK, _DISCARD_PADDING = 0xE7, 0xA3, 0xA0, 0xA1, 0x75A2

_STEPPED_INTO = frozenset({_SEGMENT, _CLUSTER})
_TAKEN_WHOLE = frozenset({_EBML, _INFO, _TRACKS, _TIMESTAMP, _SIMPLE_BLOCK, _BLOCK_GROUP})
_PASSED_OVER = {
    0xEC: 4_096,  # Void
    0xBF: 4,  # CRC-32
    0xA7: 8, 0xAB: 8, 0x5854: 4_096,  # Position, PrevSize, SilentTracks of a Cluster
    0x114D9B74: 1 << 20, 0x1C53BB6B: 1 << 20, 0x1254C367: 1 << 20,  # SeekHead, Cues, Tags
    0x1043A770: 1 << 20, 0x1941A469: 1 << 20,  # Chapters, Attachments
}  # fmt: skip
"""What may stand between the blocks of a recording, and how large. Anything else there is damage: bytes that are missing
turn what follows into elements of any size, and to pass over one would be to lose minutes."""

_CLUSTER_ID = _CLUSTER.to_bytes(4, "big")
_AUDIO_TRACK = 2
_MAX_SKIPPED_BYTES = 1 << 32
"""An element that is passed over says that it is larger: then it is damage, not an element."""

_MAX_FOUND_BYTES = 16_384
"""Of a block that is recognised without what stands before it."""
_MAX_HEADER_BYTES = 65_536
"""Of a header that is repeated."""

_RESERVED_FLAGS = 0x70
"""Of a SimpleBlock: always 0."""

_IN_A_GROUP = frozenset({0xA1, 0x9B, 0xFB, 0x75, 0xA4, 0xFA, 0x8E, 0xEC})
"""First bytes of what a BlockGroup may begin with."""

_AFTER_A_BLOCK = frozenset({_SIMPLE_BLOCK, _BLOCK_GROUP, _CLUSTER_ID[0]})

_OPUS_RATE = 48_000
_CODECS: dict[str, Codec] = {
    "A_OPUS": "opus", "A_VORBIS": "vorbis", "A_AAC": "aac", "A_FLAC": "flac", "A_MPEG/L3": "mp3",
}  # fmt: skip
_PCM = {
    ("A_PCM/FLOAT/IEEE", 32): "pcm_f32le",
    ("A_PCM/INT/LIT", 16): "pcm_s16le",
    ("A_PCM/INT/LIT", 24): "pcm_s24le",
    ("A_PCM/INT/LIT", 32): "pcm_s32le",
    ("A_PCM/INT/LIT", 8): "pcm_u8",
}


@dataclass
class WebmDemuxer:
    """The first audio track of a stream."""

    _buffer: bytearray = field(default_factory=bytearray)
    _skip: int = 0
    """bytes of an element that is passed over, still to come"""
    _lost: bool = False
    """looking for the next Cluster"""
    _scale_ns: int = 1_000_000
    _cluster_ticks: int | None = 0
    """None: its Cluster's beginning was lost"""
    _number: int | None = None
    _is_alone: bool = False
    """there is no other track"""
    _largest: int = 0
    """bytes of a block so far"""
    _rate: int = 0
    _began: bool = False
    _idle: int = 0

    def feed(self, chunk: bytes) -> list[Event]:
        self._buffer += chunk
        events: list[Event] = []
        known = 0
        while self._step(events):
            heard = any(not isinstance(event, Damage) for event in events[known:])
            self._idle = 0 if heard else self._idle + 1
            known = len(events)
            if self._idle > MAX_IDLE_ELEMENTS:
                raise DemuxError("this WebM stream has far too many elements without sound")
        return events

    def close(self) -> list[Event]:
        left, self._buffer = len(self._buffer), bytearray()
        return [Damage("the last element is not complete")] if left or self._skip else []

    def resync(self) -> None:
        self._buffer.clear()
        self._skip, self._lost = 0, True

    def _step(self, events: list[Event]) -> bool:
        """Deal with the next element, or a part of it; False when more bytes are needed."""
        buffer = self._buffer
        if self._skip:
            gone = min(self._skip, len(buffer))
            del buffer[:gone]
            self._skip -= gone
            return bool(buffer)
        if self._lost and not self._find():
            return False
        try:
            return self._element(events)
        except Broken as error:
            if not self._began and not events:
                raise DemuxError(f"this WebM stream cannot be read: {error}") from None
            events.append(Damage(str(error)))
            del buffer[:1]
            self._lost = True
            return True

    def _find(self) -> bool:
        """Go to the next place that can be recognised."""
        buffer = self._buffer
        cluster = buffer.find(_CLUSTER_ID)
        end = cluster if cluster >= 0 else len(buffer)
        at = buffer.find(_SIMPLE_BLOCK, 0, end)
        while at >= 0:
            match self._is_block(at):
                case True:
                    self._cluster_ticks = None
                    return self._found(at)
                case None:  # not before more bytes are there
                    break
            at = buffer.find(_SIMPLE_BLOCK, at + 1, end)
        if cluster >= 0:
            return self._found(cluster)
        del buffer[: at if at >= 0 else max(0, len(buffer) - len(_CLUSTER_ID) + 1)]
        return False

    def _is_block(self, at: int) -> bool | None:
        """Whether a block of our track lies here, and another element behind it; None when that cannot be said yet."""
        buffer = self._buffer
        try:
            header = read_header(buffer[at : at + 12])
        except Broken:
            return False
        if header is None:
            return None
        _, size, content = header
        if self._number is None or not 4 < size <= _MAX_FOUND_BYTES:
            return False
        if len(buffer) > at + content and buffer[at + content] != 0x80 | self._number:
            return False
        after = at + content + size
        return None if len(buffer) <= after else buffer[after] in _AFTER_A_BLOCK

    def _found(self, at: int) -> bool:
        del self._buffer[:at]
        self._lost = False
        return True

    def _element(self, events: list[Event]) -> bool:
        buffer = self._buffer
        header = read_header(buffer)
        if header is None:
            return False
        kind, size, content = header
        if not self._began and kind != _EBML:
            raise Broken("it does not begin with an EBML header")
        if kind in _STEPPED_INTO:
            del buffer[:content]
            return True
        if size == UNKNOWN:
            raise Broken(f"element {kind:X} has no size")
        if kind not in _TAKEN_WHOLE:
            if size > _MAX_SKIPPED_BYTES:
                raise Broken(f"element {kind:X} says that it has {size} bytes")
            if self._largest and size > _PASSED_OVER.get(kind, -1):
                raise Broken(f"there is no element {kind:X} of {size} bytes between blocks")
            del buffer[:content]
            self._skip = size
            return True
        if size > MAX_ELEMENT_BYTES:
            raise Broken(f"element {kind:X} says that it has {size} bytes")
        if self._number is not None:
            self._check(kind, size, content)
        if len(buffer) < content + size:
            return False
        body = bytes(buffer[content : content + size])
        events += self._take(kind, body)
        del buffer[: content + size]
        return True

    def _check(self, kind: int, size: int, content: int) -> None:
        """Raises Broken for what no recorder writes in the middle: to wait for its end would be to lose all that comes."""
        if kind in (_SIMPLE_BLOCK, _BLOCK_GROUP):
            most = max(_MAX_FOUND_BYTES, 4 * self._largest) if self._largest else MAX_ELEMENT_BYTES
        else:
            most = 8 if kind == _TIMESTAMP else _MAX_HEADER_BYTES
        if size > most:
            self._largest = max(self._largest, size // 4 + 1)  # another one like it is believed
            raise Broken(f"element {kind:X} says that it has {size} bytes")
        buffer, number = self._buffer, self._number
        if kind == _BLOCK_GROUP and len(buffer) > content and buffer[content] not in _IN_A_GROUP:
            raise Broken("a group of blocks begins with none")
        if kind == _SIMPLE_BLOCK and self._is_alone and number is not None and number < 127:
            if len(buffer) > content and buffer[content] != 0x80 | number:
                raise Broken("a block is of a track that there is not")
            if len(buffer) > content + 3 and buffer[content + 3] & _RESERVED_FLAGS:
                raise Broken("a block has flags that there are not")

    def _take(self, kind: int, body: bytes) -> list[Event]:
        match kind:
            case 0x1A45DFA3:
                self._began = True
            case 0x1549A966:
                self._scale_ns = read_number(dict(children(body)).get(_TIMESTAMP_SCALE, b"")) or 1_000_000
            case 0x1654AE6B:
                return self._tracks(body)
            case 0xE7:
                self._cluster_ticks = read_number(body)
            case 0xA3:
                return self._block(body, 0)
            case 0xA0:
                group = dict(children(body))
                padding_ns = read_signed(group.get(_DISCARD_PADDING, b""))
                return self._block(group.get(_BLOCK, b""), round(max(0, padding_ns) * self._rate / 1e9))
        return []

    def _tracks(self, body: bytes) -> list[Event]:
        if self._number is not None:
            return []  # a live stream may repeat its header
        entries = [entry for kind, entry in children(body) if kind == _TRACK_ENTRY]
        self._is_alone = len(entries) == 1
        for entry in entries:
            fields = dict(children(entry))
            if read_number(fields.get(_TYPE, b"")) != _AUDIO_TRACK:
                continue
            self._number = read_number(fields.get(_NUMBER, b""))
            track = _track(fields)
            self._rate = track.sample_rate
            return [track]
        raise DemuxError("there is no audio track in this WebM stream")

    def _block(self, body: bytes, padding: int) -> list[Event]:
        number, at = read_vint(body, 0)
        if self._number is None or number != self._number:
            return []
        if len(body) < at + 3:
            raise Broken("a block is cut off")
        self._largest = max(self._largest, len(body))
        (ticks,) = struct.unpack_from(">h", body, at)
        frames = _laced(body[at + 3 :], (body[at + 2] >> 1) & 3)
        time_s = None if self._cluster_ticks is None else (self._cluster_ticks + ticks) * self._scale_ns / 1e9
        return [
            Packet(frame, time_s if n == 0 else None, padding if n == len(frames) - 1 else 0)
            for n, frame in enumerate(frames)
        ]


def _track(fields: dict[int, bytes]) -> Track:
    name = fields.get(_CODEC_ID, b"").rstrip(b"\0").decode("latin-1")
    audio = dict(children(fields.get(_AUDIO, b"")))
    channels = read_number(audio.get(_CHANNELS, b"")) or 1
    rate = round(read_float(audio.get(_SAMPLING_FREQUENCY, b""))) or 8_000
    private = fields.get(_CODEC_PRIVATE, b"")
    if name == "A_OPUS":
        # OpusHead may name any rate (the recorder's own); Opus decodes at 48 kHz whatever it says.
        if not private.startswith(b"OpusHead") or len(private) < 19:
            raise DemuxError("the Opus header of this WebM stream is damaged")
        return Track("opus", _OPUS_RATE, private[9] or channels, private, int.from_bytes(private[10:12], "little"))
    if (pcm := _PCM.get((name, read_number(audio.get(_BIT_DEPTH, b""))))) is not None:
        return Track("pcm", rate, channels, b"", 0, pcm)
    codec = _CODECS.get(name.partition("/")[0] if name.startswith("A_AAC") else name)
    if codec is None:
        raise DemuxError(
            f"the audio in this WebM stream is coded as {name[:40] or 'nothing known'}, which is not taken here"
        )
    delay = round(read_number(fields.get(_CODEC_DELAY, b"")) * rate / 1e9)
    # Of Vorbis's first packet nothing is heard anyway.
    return Track(codec, rate, channels, private, delay if delay <= rate and codec != "vorbis" else 0)


def _laced(body: bytes, lacing: int) -> list[bytes]:
    """The frames of one block (RFC 9559, section 10.3)."""
    if lacing == 0:
        return [body]
    if not body:
        raise Broken("a laced block is empty")
    count, at = body[0] + 1, 1
    if lacing == 2:
        if (len(body) - 1) % count:
            raise Broken("frames of one size do not fill their block")
        size = (len(body) - 1) // count
        return [body[1 + n * size : 1 + (n + 1) * size] for n in range(count)]
    sizes, at = (_xiph_sizes if lacing == 1 else _ebml_sizes)(body, at, count - 1)
    rest = len(body) - at - sum(sizes)
    if rest < 0:
        raise Broken("the frames of a block are longer than it is")
    frames = []
    for size in [*sizes, rest]:
        frames.append(body[at : at + size])
        at += size
    return frames


def _xiph_sizes(body: bytes, at: int, count: int) -> tuple[list[int], int]:
    sizes = []
    for _ in range(count):
        size = 0
        while True:
            if at >= len(body):
                raise Broken("the sizes of a block are cut off")
            size += body[at]
            at += 1
            if body[at - 1] < 255:
                break
        sizes.append(size)
    return sizes, at


def _ebml_sizes(body: bytes, at: int, count: int) -> tuple[list[int], int]:
    sizes: list[int] = []
    for n in range(count):
        start = at
        value, at = read_vint(body, at)
        if n:
            value += sizes[-1] - ((1 << (7 * (at - start) - 1)) - 1)
        if value < 0:
            raise Broken("a frame has less than no bytes")
        sizes.append(value)
    return sizes, at
