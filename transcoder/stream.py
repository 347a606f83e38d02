"""NO I/O. A stream's bytes as they come → PCM the model understands, at once: no probing, no look-ahead.

One decoder and one resampler live as long as the stream, so that nothing clicks where chunks meet. What is damaged or
missing becomes silence of its own length, at most `MAX_SILENCE_S`, and is counted. It runs in a decoder child.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from av import AudioCodecContext, AudioFrame, CodecContext
from av.error import FFmpegError
from av.packet import Packet as CodedPacket

from transcoder.decoded import BYTES_PER_SAMPLE, SAMPLE_RATE
from transcoder.demux.adts import adts, mp3
from transcoder.demux.fmp4 import FragmentedDemuxer
from transcoder.demux.ogg import OggDemuxer
from transcoder.demux.packets import Damage, Demuxer, DemuxError, Event, Packet, Track
from transcoder.demux.raw import PCM_BYTES, RawOpus, RawPcm
from transcoder.demux.webm import WebmDemuxer
from transcoder.errors import BrokenMedia, NotAudio, TooLong, UnsupportedMedia
from transcoder.frame_resampler import FrameResampler
from transcoder.frames import check, frame_of, silence, silent, slice_of
from transcoder.limits import MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from transcoder.sniffer import Kind, sniff
from transcoder.stream_state import State, pack, unpack

MAX_SILENCE_S = 0.3
"""A hole becomes at most this much silence, lest it end the user's turn."""

HOLE_S = 0.08
"""A packet that begins so much later than the one before has ended: something is missing. Less is a recorder's jitter."""

SNIFFED_BYTES = 64
"""So much of a stream has to be there before it is known what it is; less only at its end."""

WARM_UP_S = 0.4
"""Of sound before what counts, decoded anew by a decoder that goes on where another one stood. Measured: Opus is within
98 dB after 320 ms, AAC is as near as it gets after 4 frames; MP3 looks back 511 bytes, Vorbis a packet."""

MAX_WARM_UP_BYTES = 256 << 10
"""Of these packets. AAC at 320 kbit/s has 16 KB."""

_WARMED_UP = frozenset({"opus", "aac", "mp3", "vorbis"})
"""Codecs whose packets do not stand for themselves."""

MAX_BARREN = 500
"""Packets in a row that give no sound: ten seconds of Opus. Nothing will come of such a stream."""

_DEMUXERS: dict[Kind, Callable[[], Demuxer]] = {
    Kind.WEBM: WebmDemuxer,
    Kind.MATROSKA: WebmDemuxer,
    Kind.OGG_OPUS: OggDemuxer,
    Kind.OGG_VORBIS: OggDemuxer,
    Kind.OGG: OggDemuxer,
    Kind.MP4: FragmentedDemuxer,
    Kind.ADTS: adts,
    Kind.MP3: mp3,
}
_DECODERS = {"opus": "opus", "aac": "aac", "mp3": "mp3float", "flac": "flac", "vorbis": "vorbis", "alac": "alac"}
"""Codec → libavcodec's decoder: no other one ever runs."""


@dataclass(slots=True)
class Heard:
    """What a chunk has brought."""

    pcm: bytes = field(default=b"", repr=False)
    """PCM16 little-endian mono at SAMPLE_RATE"""
    missing_s: float = 0.0
    """so much of what was recorded is missing before its end"""
    damaged: int = 0
    """places at which bytes made no sense, and packets that did not decode"""


class StreamDecoder:
    """One stream from its header to its end. `source`: what the client says that it is (`demuxer_for`).

    Every call raises MediaError: then nothing comes of this stream any more.
    """

    def __init__(self, source: str = "stream") -> None:
        self._demuxer = demuxer_for(source)
        self._head = b""
        self._context: AudioCodecContext | None = None
        self._resampler = FrameResampler()
        self._packets: deque[tuple[bytes, float]] = deque()
        """the last ones, with their seconds: what a codec is warmed up with"""
        self._packets_s, self._packets_bytes = 0.0, 0
        self._began = False
        """the codec has seen a packet of the track"""
        self._track: Track | None = None
        self._last: AudioFrame | None = None
        self._next_s: float | None = None
        """where the next packet should begin, by what the container has said"""
        self._to_skip = 0.0
        """seconds of priming still to come"""
        self._barren = 0
        self._hole_unknown = False
        """chunks were lost: how much, the next packet's time tells"""

    @classmethod
    def going_on(cls, kept: bytes) -> StreamDecoder:
        """One that goes on where another one stood when it said `keep`. Raises BrokenMedia for what is no such thing."""
        state, demuxer = unpack(kept)
        decoder = cls()
        decoder._head, decoder._demuxer = state.head, demuxer
        if state.track is not None:
            decoder._open(state.track, primed=state.began)
            decoder._began = state.began
            decoder._warm_up(state.packets)
        if state.sound is not None:
            sound = state.sound
            decoder._resampler = FrameResampler(sound)
            tail = frame_of(sound.format, sound.layout, sound.sample_rate, sound.planes)
            decoder._last = silent(tail, state.last_samples) if 0 < state.last_samples <= MAX_SAMPLE_RATE else None
        decoder._next_s, decoder._to_skip = state.next_s, state.to_skip
        decoder._barren, decoder._hole_unknown = state.barren, state.hole_unknown
        return decoder

    def keep(self) -> bytes:
        """All that it knows, for `going_on`; empty when that cannot be said now: in the middle of the priming, for one."""
        sound = self._resampler.keep()
        if self._began and sound is None:
            return b""
        state = State(
            head=self._head,
            track=self._track,
            began=self._began,
            packets=[data for data, _ in self._packets],
            sound=sound,
            last_samples=0 if self._last is None else self._last.samples,
            next_s=self._next_s,
            to_skip=self._to_skip,
            barren=self._barren,
            hole_unknown=self._hole_unknown,
        )
        return pack(state, self._demuxer)

    @property
    def what(self) -> str:
        """Codec, rate and channels, for people; empty before they are known."""
        track = self._track
        return "" if track is None else f"{track.pcm or track.codec} {track.sample_rate} Hz {track.channels} ch"

    @property
    def track(self) -> Track | None:
        """As the container says, once that is known."""
        return self._track

    def feed(self, chunk: bytes, *, max_seconds: float) -> Heard:
        """The next bytes, as they came. Raises TooLong when they hold more than `max_seconds` of sound."""
        return self._hear(self._demux(chunk, closing=False), max_seconds)

    def lost(self) -> None:
        """Bytes are missing here."""
        self._hole_unknown = True
        if self._demuxer is not None:
            self._demuxer.resync()

    def close(self, *, max_seconds: float) -> Heard:
        """The stream has ended: what was held back."""
        heard = self._hear([*self._demux(b"", closing=True)], max_seconds)
        if self._context is not None:
            frames = self._decode(None, heard)
            heard.pcm += b"".join(self._resampler.feed(frame) for frame in frames)
        heard.pcm += self._resampler.flush()
        return heard

    # ── bytes → packets ─────────────────────────────────────────────────────────────────────────────────────────────

    def _demux(self, chunk: bytes, *, closing: bool) -> list[Event]:
        try:
            if self._demuxer is None:
                self._head += chunk
                if len(self._head) < SNIFFED_BYTES and not closing:
                    return []
                chunk, self._head = self._head, b""
                self._demuxer = _sniffed(chunk)
            events = self._demuxer.feed(chunk)
            return [*events, *self._demuxer.close()] if closing else events
        except DemuxError as error:
            raise BrokenMedia(f"{error}; record it again") from error

    # ── packets → PCM ───────────────────────────────────────────────────────────────────────────────────────────────

    def _hear(self, events: list[Event], max_seconds: float) -> Heard:
        heard = Heard()
        pcm = bytearray()
        for event in events:
            match event:
                case Track():
                    pcm += self._begin(event)
                case Packet():
                    for frame in self._frames(event, heard):
                        pcm += self._resampler.feed(frame)
                case Damage():
                    heard.damaged += 1
            if len(pcm) > max_seconds * SAMPLE_RATE * BYTES_PER_SAMPLE:
                raise TooLong(len(pcm) / SAMPLE_RATE / BYTES_PER_SAMPLE, max_seconds, at_least=True)
        heard.pcm = bytes(pcm)
        return heard

    def _begin(self, track: Track) -> bytes:
        """A track, or another one chained to it; what the one before still held."""
        if not 1 <= track.channels <= MAX_CHANNELS:
            raise UnsupportedMedia(f"this recording has {track.channels} channels; send at most {MAX_CHANNELS}")
        if not MIN_SAMPLE_RATE <= track.sample_rate <= MAX_SAMPLE_RATE:
            raise UnsupportedMedia(f"this recording has a sample rate of {track.sample_rate} Hz; send 8000 to 96000 Hz")
        rest = self._resampler.flush()
        self._open(track, primed=False)
        self._last, self._next_s, self._began = None, None, False
        self._packets.clear()
        self._packets_s, self._packets_bytes = 0.0, 0
        # Of Opus libavcodec drops the priming by itself: it reads the same header.
        self._to_skip = 0.0 if track.codec == "opus" else track.priming / track.sample_rate
        return rest

    def _open(self, track: Track, *, primed: bool) -> None:
        """A fresh decoder. `primed`: what was never recorded has been dropped already."""
        context = CodecContext.create(track.pcm or _DECODERS[track.codec], "r")
        assert isinstance(context, AudioCodecContext)
        context.sample_rate = track.sample_rate
        context.layout = {1: "mono", 2: "stereo"}.get(track.channels, f"{track.channels} channels")
        context.thread_count = 1
        extradata = track.extradata
        if primed and track.codec == "opus":
            extradata = extradata[:10] + b"\0\0" + extradata[12:]
        if extradata:
            context.extradata = extradata
        self._track, self._context = track, context

    def _warm_up(self, packets: list[bytes]) -> None:
        """What comes of these has been heard before."""
        assert self._context is not None
        for data in packets:
            length_s = 0.0
            with suppress(FFmpegError):
                length_s = sum(frame.samples / frame.sample_rate for frame in self._context.decode(CodedPacket(data)))
            self._remember(data, length_s)

    def _remember(self, data: bytes, length_s: float) -> None:
        self._packets.append((data, length_s))
        self._packets_s += length_s
        self._packets_bytes += len(data)
        while self._packets_s - self._packets[0][1] >= WARM_UP_S or self._packets_bytes > MAX_WARM_UP_BYTES:
            oldest, oldest_s = self._packets.popleft()
            self._packets_s -= oldest_s
            self._packets_bytes -= len(oldest)
            if not self._packets:
                break

    def _frames(self, packet: Packet, heard: Heard) -> Iterator[AudioFrame]:
        """What a packet sounds like, with silence before it where something is missing."""
        if (hole_s := self._hole_before(packet)) > 0:
            heard.missing_s += hole_s
            yield from self._silence(hole_s)
        frames = self._decode(packet, heard)
        length_s = sum(frame.samples / frame.sample_rate for frame in frames)
        self._began = True
        if self._track is not None and self._track.codec in _WARMED_UP:
            self._remember(packet.data, length_s)
        if packet.time_s is not None:
            self._next_s = packet.time_s + length_s
        elif self._next_s is not None:
            self._next_s += length_s
        yield from self._recorded(frames, packet.padding)

    def _hole_before(self, packet: Packet) -> float:
        unknown, self._hole_unknown = self._hole_unknown, False
        if packet.time_s is None or self._next_s is None:
            self._hole_unknown = unknown and packet.time_s is None
            return 0.0
        hole_s = packet.time_s - self._next_s
        return hole_s if hole_s > (0.001 if unknown else HOLE_S) else 0.0

    def _silence(self, seconds: float) -> Iterator[AudioFrame]:
        if self._last is not None:
            yield from silence(self._last, round(min(seconds, MAX_SILENCE_S) * self._last.sample_rate))

    def _decode(self, packet: Packet | None, heard: Heard) -> list[AudioFrame]:
        """One that does not decode becomes silence as long as the one before it."""
        if self._context is None:
            raise BrokenMedia("this recording has sound before it says what it is; record it again")
        try:
            frames = self._context.decode(None if packet is None else CodedPacket(packet.data))
        except EOFError:
            return []
        except FFmpegError:
            heard.damaged += 1
            self._barren += 1
            frames = [] if self._last is None else list(silence(self._last, self._last.samples))
            heard.missing_s += sum(frame.samples / frame.sample_rate for frame in frames)
        else:
            self._barren = 0 if frames else self._barren + 1
            if frames:
                self._last = frames[-1]
        if self._barren > MAX_BARREN:
            raise BrokenMedia("no sound comes out of this recording; record it again")
        for frame in frames:
            check(frame)
        return frames

    def _recorded(self, frames: list[AudioFrame], padding: int) -> Iterator[AudioFrame]:
        """Without what was never recorded: priming at the start, padding at the end of a packet."""
        track = self._track
        assert track is not None
        left = sum(frame.samples for frame in frames)
        rate = frames[0].sample_rate if frames else track.sample_rate
        stop = left - round(padding * rate / track.sample_rate)
        at = 0
        for frame in frames:
            begin = min(round(self._to_skip * rate), frame.samples)
            self._to_skip = max(0.0, self._to_skip - begin / rate)
            end = min(frame.samples, stop - at)
            at += frame.samples
            if begin < end:
                yield frame if end - begin == frame.samples else slice_of(frame, begin, end)


def demuxer_for(source: str) -> Demuxer | None:
    """For what a client says that it sends; None for `stream`: it is looked at.

    `opus`: one raw packet a chunk. `pcm_s16le 48000 2`: raw samples (`raw.PCM_BYTES`), Hertz, channels. Raises
    UnsupportedMedia, which says what there is.
    """
    name, *numbers = source.split() or [""]
    if name == "stream" and not numbers:
        return None
    if name == "opus" and not numbers:
        return RawOpus()
    if name in PCM_BYTES and 1 <= len(numbers) <= 2 and all(number.isdecimal() for number in numbers):
        rate, channels = int(numbers[0]), int(numbers[1]) if len(numbers) == 2 else 1
        if MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE and 1 <= channels <= MAX_CHANNELS:
            return RawPcm(name, rate, channels)
    raise UnsupportedMedia(
        f"there is no input format {source[:60]!r}: say stream (WebM, Ogg, fragmented MP4, ADTS or MP3), opus, "
        f"or one of {', '.join(PCM_BYTES)} with its sample rate (8000 to 96000) and channels"
    )


def _sniffed(head: bytes) -> Demuxer:
    kind = sniff(head)
    if (make := _DEMUXERS.get(kind)) is not None:
        return make()
    if kind.is_media:
        raise UnsupportedMedia(f"this is {kind.value}, which can only be taken as a whole recording")
    raise NotAudio(f"this is {kind.value}, and no audio")
