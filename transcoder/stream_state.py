"""PURE. What a stream's decoder knows, as bytes: kept while it works, so that another one goes on from there.

Its demuxer as it is, half an element and all; the last packets, to warm a codec up whose sound depends on what came before;
the last samples, for the resampler. It is made in a decoder child, kept in Redis and read in another child, which takes it
for what it is: bytes of a child that may have gone bad. So nothing but the fields named here comes of it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any, get_args, get_origin

import msgspec

from transcoder.demux.adts import FramedDemuxer
from transcoder.demux.fmp4 import FragmentedDemuxer
from transcoder.demux.ogg import OggDemuxer
from transcoder.demux.packets import Demuxer, Track
from transcoder.demux.raw import RawOpus, RawPcm
from transcoder.demux.webm import WebmDemuxer
from transcoder.errors import BrokenMedia

MAX_STATE_BYTES = 1 << 20
"""More is not kept. Opus is 5 KB, PCM of 48 kHz 10 KB; half an element of a container may be much more."""

_DEMUXERS: dict[str, Any] = {
    "webm": WebmDemuxer,
    "ogg": OggDemuxer,
    "mp4": FragmentedDemuxer,
    "framed": FramedDemuxer,
    "opus": RawOpus,
    "pcm": RawPcm,
}
_KINDS = {made: kind for kind, made in _DEMUXERS.items()}


@dataclass(frozen=True)
class KeptSound:
    """Where a resampler stands, with the last of what it was fed."""

    format: str
    layout: str
    sample_rate: int
    taken: int
    """samples of source since the format began"""
    planes: list[bytes] = field(repr=False)
    """the last of them, before `taken`"""


@dataclass(frozen=True)
class State:
    """All of a `StreamDecoder`."""

    head: bytes = field(default=b"", repr=False)
    """what is not enough yet to say what it is"""
    kind: str = ""
    """of the demuxer; empty before it is known"""
    demuxer: bytes = field(default=b"", repr=False)
    track: Track | None = None
    began: bool = False
    """the codec has seen a packet of the track"""
    packets: list[bytes] = field(default_factory=list, repr=False)
    """the last ones, for a codec that has to be warmed up"""
    sound: KeptSound | None = None
    last_samples: int = 0
    next_s: float | None = None
    to_skip: float = 0.0
    barren: int = 0
    hole_unknown: bool = False


def pack(state: State, demuxer: Demuxer | None) -> bytes:
    """Empty for one that is too large to be kept."""
    if demuxer is not None:
        state = replace(state, kind=_KINDS[type(demuxer)], demuxer=msgspec.msgpack.encode(demuxer, enc_hook=_plain))
    packed = msgspec.msgpack.encode(state)
    return packed if len(packed) <= MAX_STATE_BYTES else b""


def unpack(packed: bytes) -> tuple[State, Demuxer | None]:
    """Raises BrokenMedia for what `pack` has not made."""
    try:
        state = msgspec.msgpack.decode(packed, type=State)
        if not state.kind:
            return state, None
        demuxer: Demuxer = msgspec.msgpack.decode(state.demuxer, type=_DEMUXERS[state.kind], dec_hook=_deque)
    except (msgspec.MsgspecError, KeyError, ValueError) as error:
        raise BrokenMedia("what was kept of this stream is damaged; record it again") from error
    return state, demuxer


def _plain(value: Any) -> Any:
    """Of what msgspec does not know: a deque is a list."""
    if isinstance(value, deque):
        return list(value)
    raise NotImplementedError(type(value))


def _deque(wanted: Any, value: Any) -> Any:
    if get_origin(wanted) is deque:
        (item,) = get_args(wanted)
        return deque(msgspec.convert(each, item) for each in value)
    raise NotImplementedError(wanted)
