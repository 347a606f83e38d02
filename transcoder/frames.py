"""Audio frames: whether they are ones we take, a part of one, and silence of the same shape."""

from __future__ import annotations

from collections.abc import Iterator

from av import AudioFormat, AudioFrame, AudioLayout

from transcoder.errors import BrokenMedia, UnsupportedMedia
from transcoder.limits import MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE

_NO_FRAME = "what was kept of this stream is damaged; record it again"


def check(frame: AudioFrame) -> None:
    """Raises UnsupportedMedia for what is no recording of a voice."""
    channels, rate = frame.layout.nb_channels, frame.sample_rate
    if not 1 <= channels <= MAX_CHANNELS:
        raise UnsupportedMedia(f"this recording has {channels} channels; send at most {MAX_CHANNELS}")
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise UnsupportedMedia(f"this recording has a sample rate of {rate} Hz; send 8000 to {MAX_SAMPLE_RATE} Hz")


def slice_of(frame: AudioFrame, begin: int, end: int) -> AudioFrame:
    """Samples `[begin, end)` of a frame, copied."""
    width = _bytes_per_sample(frame)
    return _new_frame(frame, end - begin, [bytes(memoryview(plane)[begin * width : end * width]) for plane in frame.planes])


def silence(like: AudioFrame, samples: int) -> Iterator[AudioFrame]:
    """Silence of the shape of `like`, in frames of its length."""
    while samples > 0:
        length = min(samples, like.samples)
        yield silent(like, length)
        samples -= length


def silent(like: AudioFrame, samples: int) -> AudioFrame:
    """One frame of the shape of `like`, of any length."""
    # Unsigned bytes are silent at 128, everything else at 0.
    level = b"\x80" if like.format.name.startswith("u8") else b"\x00"
    return _new_frame(like, samples, [level * (_bytes_per_sample(like) * samples)] * len(like.planes))


def planes_of(frame: AudioFrame) -> list[bytes]:
    """Its samples, without what stands behind them in memory."""
    size = _bytes_per_sample(frame) * frame.samples
    return [bytes(memoryview(plane)[:size]) for plane in frame.planes]


def frame_of(form: str, layout: str, sample_rate: int, planes: list[bytes]) -> AudioFrame:
    """A frame with these samples. Raises BrokenMedia for planes that are none of this format and layout."""
    try:
        kind, shape = AudioFormat(form), AudioLayout(layout)
    except ValueError:
        raise BrokenMedia(_NO_FRAME) from None
    width = kind.bytes * (1 if kind.is_planar else shape.nb_channels)
    if len(planes) != (shape.nb_channels if kind.is_planar else 1) or not 1 <= shape.nb_channels <= MAX_CHANNELS:
        raise BrokenMedia(_NO_FRAME)
    size = len(planes[0])
    if not size or size % width or any(len(plane) != size for plane in planes):
        raise BrokenMedia(_NO_FRAME)
    frame = AudioFrame(format=form, layout=layout, samples=size // width, align=1)
    frame.sample_rate = sample_rate
    for plane, content in zip(frame.planes, planes, strict=True):
        plane.update(content)
    check(frame)
    return frame


def _new_frame(like: AudioFrame, samples: int, planes: list[bytes]) -> AudioFrame:
    frame = AudioFrame(format=like.format.name, layout=like.layout.name, samples=samples, align=1)
    frame.sample_rate = like.sample_rate
    for plane, content in zip(frame.planes, planes, strict=True):
        plane.update(content)
    return frame


def _bytes_per_sample(frame: AudioFrame) -> int:
    """Within one plane: packed formats have all channels in their only one."""
    return frame.format.bytes * (1 if frame.format.is_planar else frame.layout.nb_channels)
