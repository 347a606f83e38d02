"""Clips in every shape, made from the two speech files here with PyAV's own encoders; nothing needs to be installed.

`speech_espeak.flac`  3.7 s, 48 kHz, mono: espeak-ng, "Please tell me the weather in Helsinki …"
`speech_jfk.flac`     6.0 s, 44.1 kHz, mono: John F. Kennedy, 20 January 1961 (public domain)

A clip is bytes and the truth about them: how many samples went into the encoder, and which.
"""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np
from av import AudioFrame, AudioLayout, AudioResampler, AudioStream
from numpy.typing import NDArray

HERE = Path(__file__).parent
SOURCES = ("speech_espeak", "speech_jfk")

Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Clip:
    data: bytes
    samples: int
    """A channel, at `rate`: what was recorded."""
    rate: int

    @property
    def samples_at_24k(self) -> int:
        return round(self.samples * 24_000 / self.rate)


@cache
def speech(source: str, rate: int, layout: str) -> NDArray[np.int16]:
    """A whole source at this rate, as interleaved s16."""
    resampler = AudioResampler(format="s16", layout=layout, rate=rate)
    parts = []
    with av.open(HERE / f"{source}.flac") as container:
        for frame in [*container.decode(audio=0), None]:
            parts += [out.to_ndarray().reshape(-1) for out in _resample(resampler, frame)]
    return np.concatenate(parts)


def make_clip(
    source: str = "speech_espeak",
    *,
    rate: int = 44_100,
    layout: str = "mono",
    bit_rate: int = 64_000,
    samples: int | None = None,
    moov_first: bool = False,
    codec: str = "aac",
    container: str = "ipod",
    movflags: str = "",
) -> Clip:
    """`samples` of a source (None: all of it once; more than there are: again from its start) in an MP4 family file."""
    pcm = speech(source, rate, layout)
    channels = AudioLayout(layout).nb_channels
    pcm = pcm if samples is None else np.resize(pcm, samples * channels)
    flags = "+".join(flag for flag in ("faststart" if moov_first else "", movflags) if flag)
    data = encode(pcm, rate=rate, layout=layout, bit_rate=bit_rate, codec=codec, container=container, movflags=flags)
    return Clip(data, len(pcm) // channels, rate)


def encode(
    pcm: NDArray[np.int16],
    *,
    rate: int,
    layout: str = "mono",
    bit_rate: int = 64_000,
    codec: str = "aac",
    container: str = "ipod",
    movflags: str = "",
) -> bytes:
    """Interleaved s16 as a file of the MP4 family."""
    with tempfile.TemporaryDirectory() as folder:  # moving the index to the front reads the file again, by its name
        path = Path(folder) / "clip"
        with av.open(path, "w", format=container, options={"movflags": movflags} if movflags else {}) as output:
            stream = output.add_stream(codec, rate=rate, layout=layout)
            assert isinstance(stream, AudioStream)
            stream.bit_rate = bit_rate
            for frame in _frames(pcm, rate, layout):
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        return path.read_bytes()


def encode_any(
    pcm: NDArray[np.int16],
    *,
    rate: int,
    layout: str = "mono",
    codec: str,
    container: str,
    bit_rate: int | None = None,
    options: dict[str, str] | None = None,
) -> bytes:
    """Interleaved s16 in any container that PyAV can write."""
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options or {}) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout, options={"strict": "experimental"})
        assert isinstance(stream, AudioStream)
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        for frame in _frames(pcm, rate, layout, size=960):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def _resample(resampler: AudioResampler, frame: AudioFrame | None) -> list[AudioFrame]:
    out: list[AudioFrame | None] = list(resampler.resample(frame))  # a resampler with nothing to do flushes None
    return [part for part in out if part is not None]


def _frames(pcm: NDArray[np.int16], rate: int, layout: str, size: int = 4096) -> Iterator[AudioFrame]:
    channels = AudioLayout(layout).nb_channels
    for at in range(0, len(pcm), size * channels):
        part = pcm[at : at + size * channels]
        frame = AudioFrame.from_ndarray(part.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate, frame.pts = rate, at // channels
        yield frame


def make_video(*, with_audio: bool) -> bytes:
    """A second of moving grey, and perhaps of speech."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        picture = output.add_stream("mpeg4", rate=5)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        sound = output.add_stream("aac", rate=48_000, layout="mono") if with_audio else None
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64), 40 * number, np.uint8), format="gray")
            output.mux(picture.encode(frame.reformat(format="yuv420p")))
        output.mux(picture.encode(None))
        if sound is not None:
            for audio in _frames(speech("speech_espeak", 48_000, "mono")[:48_000], 48_000, "mono"):
                output.mux(sound.encode(audio))
            output.mux(sound.encode(None))
    return file.getvalue()


def libav_decode(data: bytes, rate: int = 24_000) -> Samples:
    """What FFmpeg itself makes of a file: edit lists honoured, mono, at `rate`."""
    resampler = AudioResampler(format="s16", layout="mono", rate=rate)
    parts = []
    with av.open(io.BytesIO(data), "r") as container:
        for frame in [*container.decode(audio=0), None]:
            if frame is not None:
                frame.pts = None
            parts += [out.to_ndarray().reshape(-1) for out in _resample(resampler, frame)]
    return np.concatenate(parts).astype(np.float64)


def resampled(samples: Samples, rate: int) -> Samples:
    """At 24 kHz, in one go."""
    resampler = AudioResampler(format="s16", layout="mono", rate=24_000)
    frame = AudioFrame.from_ndarray(samples.astype(np.int16).reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = rate
    parts = [out.to_ndarray().reshape(-1) for given in (frame, None) for out in _resample(resampler, given)]
    return np.concatenate(parts).astype(np.float64)


def as_samples(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, "<i2").astype(np.float64)


def correlation(one: Samples, other: Samples) -> float:
    """Over what both have, without any shift."""
    length = min(len(one), len(other))
    a, b = one[:length], other[:length]
    power = np.dot(a, a) * np.dot(b, b)
    return float(np.dot(a, b) / np.sqrt(power)) if power else float(np.array_equal(a, b))


def lag(one: Samples, other: Samples, most: int = 2400) -> int:
    """By how many samples `one` comes after `other`, at most `most` either way: where they correlate best."""
    length = min(len(one), len(other))
    size = 1 << (2 * length).bit_length()
    spectrum = np.fft.rfft(one[:length], size) * np.conj(np.fft.rfft(other[:length], size))
    cross = np.fft.irfft(spectrum, size)
    return int(np.argmax(np.concatenate([cross[-most:], cross[: most + 1]]))) - most


# Boxes, to bend and break files with.


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def find(data: bytes | bytearray, path: str) -> tuple[int, int]:
    """Where the first box of this path ("moov/trak/mdia/mdhd") begins and ends, header and all."""
    start, end = 0, len(data)
    at = 0
    for kind in path.encode().split(b"/"):
        while True:
            if at + 8 > end:
                raise LookupError(path)
            size, found = struct.unpack_from(">I4s", data, at)
            if found == kind:
                break
            at += size
        start, end = at, at + size
        at = start + 8
    return start, end


def patch(data: bytes, path: str, offset: int, value: bytes) -> bytes:
    """`value` written over a box, `offset` bytes after the start of its content."""
    at = find(data, path)[0] + 8 + offset
    return data[:at] + value + data[at + len(value) :]


def without_edit_list(data: bytes) -> bytes:
    """As Android's recorder writes it. (The box stays, under a name that says nothing.)"""
    at = find(data, "moov/trak/edts")[0]
    return data[: at + 4] + b"free" + data[at + 8 :]


def with_edit(data: bytes, duration: int, media_time: int) -> bytes:
    """The first line of the edit list changed."""
    return patch(data, "moov/trak/edts/elst", 8, struct.pack(">Ii", duration, media_time))


def with_duration(data: bytes, ticks: int) -> bytes:
    return patch(data, "moov/trak/mdia/mdhd", 16, struct.pack(">I", ticks))


def repeated(clip: Clip, packets: int, declared_ticks: int, skipped_ticks: int = 0) -> bytes:
    """A file that plays one packet of `clip` over and over: hours from a few bytes.

    Every entry of the chunk table points at the same place.
    """
    data = clip.data
    offset = find(data, "mdat")[0] + 8
    sizes = find(data, "moov/trak/mdia/minf/stbl/stsz")[0]
    (size,) = struct.unpack_from(">I", data, sizes + 20)
    packet = data[offset : offset + size]
    entry = slice(*find(data, "moov/trak/mdia/minf/stbl/stsd"))
    handler = slice(*find(data, "moov/trak/mdia/hdlr"))
    ftyp = box(b"ftyp", b"M4A \x00\x00\x02\x00isom")
    mdat = box(b"mdat", packet)
    table = box(
        b"stbl",
        data[entry],
        box(b"stts", struct.pack(">IIII", 0, 1, packets, 1024)),
        box(b"stsc", struct.pack(">IIIII", 0, 1, 1, 1, 1)),
        box(b"stsz", struct.pack(">III", 0, size, packets)),
        box(b"stco", struct.pack(">II", 0, packets), struct.pack(">I", len(ftyp) + 8) * packets),
    )
    media = box(
        b"mdia",
        box(b"mdhd", struct.pack(">IIIIII", 0, 0, 0, clip.rate, declared_ticks, 0)),
        data[handler],
        box(b"minf", table),
    )
    track_header = box(b"tkhd", struct.pack(">IIIII", 7, 0, 0, 1, 0), bytes(64))
    movie_header = box(b"mvhd", struct.pack(">IIIII", 0, 0, 0, 1000, 0), bytes(80))
    edit = box(b"edts", box(b"elst", struct.pack(">IIIiI", 0, 1, 0, skipped_ticks, 1 << 16)))
    return ftyp + mdat + box(b"moov", movie_header, box(b"trak", track_header, edit, media))


STREAMS: dict[str, tuple[str, str, int, dict[str, str], dict[str, str]]] = {
    "opus.webm": ("webm", "libopus", 48_000, {}, {}),
    "live_opus.webm": ("webm", "libopus", 48_000, {"live": "1", "cluster_time_limit": "250"}, {}),
    "pcm.mkv": ("matroska", "pcm_f32le", 48_000, {}, {}),
    "opus.ogg": ("ogg", "libopus", 48_000, {"page_duration": "100000"}, {}),
    "vorbis.ogg": ("ogg", "vorbis", 48_000, {}, {"strict": "experimental"}),
    "flac.ogg": ("ogg", "flac", 48_000, {}, {}),
    "opus.mp4": ("mp4", "libopus", 48_000, {"movflags": "frag_keyframe+empty_moov+default_base_moof"}, {}),
    "aac.mp4": (
        "mp4",
        "aac",
        44_100,
        {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "250000"},
        {},
    ),
    "lc.aac": ("adts", "aac", 44_100, {}, {}),
    "cbr.mp3": ("mp3", "libmp3lame", 44_100, {}, {}),
}


def make_stream(name: str, seconds: float = 2.0, source: str = "speech_espeak") -> bytes:
    """Speech in one of `STREAMS`: what is made to be read as it comes."""
    muxer, codec, rate, options, codec_options = STREAMS[name]
    layout = "stereo" if codec == "vorbis" else "mono"
    samples = round(seconds * rate)
    pcm = np.resize(speech(source, rate, layout), samples * AudioLayout(layout).nb_channels)
    file = io.BytesIO()
    with av.open(file, "w", format=muxer, options=options) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout, options=codec_options)
        assert isinstance(stream, AudioStream)
        for frame in _frames(pcm, rate, layout, size=960):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()
