"""Audio frames: whether they are ones we take, a part of one, and silence of the same shape."""

from __future__ import annotations

from collections.abc import Iterator

from av import AudioFrame

from transcoder.errors import UnsupportedMedia
from transcoder.limits import MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE


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
    # Unsigned bytes are silent at 128, everything else at 0.
    level = b"\x80" if like.format.name.startswith("u8") else b"\x00"
    width = _bytes_per_sample(like)
    while samples > 0:
        length = min(samples, like.samples)
        yield _new_frame(like, length, [level * (width * length)] * len(like.planes))
        samples -= length


def _new_frame(like: AudioFrame, samples: int, planes: list[bytes]) -> AudioFrame:
    frame = AudioFrame(format=like.format.name, layout=like.layout.name, samples=samples, align=1)
    frame.sample_rate = like.sample_rate
    for plane, content in zip(frame.planes, planes, strict=True):
        plane.update(content)
    return frame


def _bytes_per_sample(frame: AudioFrame) -> int:
    """Within one plane: packed formats have all channels in their only one."""
    return frame.format.bytes * (1 if frame.format.is_planar else frame.layout.nb_channels)
