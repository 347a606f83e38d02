"""A whole file → the audio frames that were recorded, and nothing of what stands around them."""

from __future__ import annotations

import io
from collections.abc import Iterator

import av
from av import AudioCodecContext, AudioFrame, AudioStream, Packet
from av.error import FFmpegError

from transcoder.errors import BrokenMedia, UnsupportedMedia
from transcoder.frames import check, silence, slice_of
from transcoder.plans import Plan
from transcoder.trim import Trim

_CONTAINED = {
    # Nothing but the bytes given: no protocol, no reference to another file, no container within this one.
    "protocol_whitelist": "",
    "enable_drefs": "0",
    # Edit lists are ours: see transcoder.demux.mp4.recorded.
    "ignore_editlist": "1",
}

_LONGEST_PACKET_S = 1.0
"""Of all codecs taken: no packet is longer than some 100 ms, of any that one may think of than this."""

_MAX_BARREN_PACKETS = 1000
"""Packets that give no sound: damaged or empty. A file has room for millions; 1000 of AAC are 20 s."""


_PACKETS_PER_S = 2_000
"""Three times what the smallest packets of all (IMA ADPCM of 64 samples, at 44.1 kHz) come to. Each costs some 10 us: a file
that makes a packet of each sample would cost a second for a second."""


class FileDecoder:
    """One track of one whole file: iterate over `frames()`, then read `codec`, `sample_rate`, `samples`.

    The plan names one demuxer of libavformat and the decoders that may run: no other parser ever sees the bytes. It also
    says which part was recorded.
    """

    def __init__(self, data: bytes, plan: Plan) -> None:
        self._data = data
        self._plan = plan
        self._trim = Trim(plan.span)
        self.codec = ""
        self.sample_rate = 0
        """Hertz, of the first frame."""
        self.channels = 0
        self._given_out: dict[int, int] = {}
        self.lost_packets = 0

    @property
    def duration_s(self) -> float:
        """Of what was given out so far, over all sample rates it came at (that is one, but for broken files)."""
        return sum(samples / rate for rate, samples in self._given_out.items())

    def frames(self) -> Iterator[AudioFrame]:
        """The frames in order, cut to the span. Raises BrokenMedia, UnsupportedMedia.

        A packet that does not decode costs itself: silence takes its place as soon as a later one does decode, so
        that what follows keeps its time. Nothing is added for what is missing at the end of a file that was cut off.
        """
        options = _CONTAINED | {"codec_whitelist": ",".join(sorted(self._plan.codecs))}
        try:
            with av.open(
                io.BytesIO(self._plan.lean(self._data)),
                "r",
                format=self._plan.demuxer,
                options=options,
                metadata_errors="replace",
            ) as container:
                stream = next(iter(container.streams.audio), None)
                # No context: a codec that libavcodec does not know. (Its type says there is always one.)
                context: AudioCodecContext | None = stream.codec_context if stream is not None else None
                if stream is None or context is None:
                    raise BrokenMedia("this file's index is damaged: its audio track cannot be read")
                self.codec = context.name
                if self.codec not in self._plan.codecs:
                    raise UnsupportedMedia(f"the audio in this file is coded as {self.codec}, which is not taken here")
                context.thread_count = 1
                # Else libavcodec drops what libavformat's own idea of the priming says, and we would drop it again.
                context.options = {"flags2": "+skip_manual"}
                yield from self._decode(container, stream)
        except FFmpegError as error:
            raise BrokenMedia(f"this file cannot be read: {error.strerror}") from error

    def _decode(self, container: av.container.InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
        lost_s = 0.0  # of packets that did not decode, not yet made up for
        barren = 0
        for number, packet in enumerate(container.demux(stream)):
            if number > _PACKETS_PER_S * (1 + self.duration_s):
                raise BrokenMedia("this file is cut into far too many pieces; record it again")
            if barren > _MAX_BARREN_PACKETS:
                raise BrokenMedia(f"{barren} packets of this file are damaged or empty; record it again")
            if packet.size == 0 and packet.pts is not None:
                barren += 1  # and not for the decoder, which takes an empty packet for the end
                continue
            try:
                frames = packet.decode()
            except EOFError:
                return
            except FFmpegError:
                self.lost_packets += 1
                barren += 1
                lost_s += _duration_s(packet)
                continue
            barren += not frames
            for frame in frames:
                check(frame)
                if not self.sample_rate:
                    self.sample_rate, self.channels = frame.sample_rate, frame.layout.nb_channels
                if lost_s:
                    for quiet in silence(frame, round(lost_s * frame.sample_rate)):
                        yield from self._recorded(quiet)
                    lost_s = 0.0
                yield from self._recorded(frame)
            if self._trim.finished:
                return

    def _recorded(self, frame: AudioFrame) -> Iterator[AudioFrame]:
        begin, end = self._trim.keep(frame.samples, frame.sample_rate)
        if begin < end:
            rate = frame.sample_rate
            self._given_out[rate] = self._given_out.get(rate, 0) + end - begin
            yield frame if end - begin == frame.samples else slice_of(frame, begin, end)


def _duration_s(packet: Packet[AudioStream]) -> float:
    """What the container says, in seconds; a damaged file may say anything, so at most `_LONGEST_PACKET_S`."""
    if not packet.duration or packet.time_base is None:
        return 0.0
    return max(0.0, min(float(packet.duration * packet.time_base), _LONGEST_PACKET_S))
