"""`parley:{sid}:pcm`: PCM16 24 kHz mono, control, and what the transcoder could not decode, in order. The bridge reads.

Written by the transcoder, or by gateways for clients that send this format themselves.
"""

from __future__ import annotations

from streams.codec import Decoder
from streams.messages import Clear, ClientEvent, Commit, End, Instructions, Message, SetPersona, Text
from streams.up import JOINED_BYTES, GenOpened, UtteranceEnd

__all__ = ["Audio", "Gap", "GenOpened", "MediaError", "PcmMessage", "UtteranceEnd"]

SAMPLE_RATE = 24_000
"""Hertz"""
BYTES_PER_SAMPLE = 2


class Audio(Message, frozen=True, tag="audio"):
    """Speech: PCM16 little-endian, 24 kHz, mono, whole samples."""

    audio: bytes
    offset: int | None = None
    """absolute position of its first sample in the session, where the transcoder made it; gateways do not know it"""
    said_ms: int | None = None
    """when what the transcoder made it of was stored (its `at`); only of a session that may be recorded"""

    @property
    def samples(self) -> int:
        return len(self.audio) // BYTES_PER_SAMPLE

    def join(self, later: Message) -> Audio | None:
        if isinstance(later, Audio) and later.offset is None and self.offset is None:
            joined = self.audio + later.audio
            return Audio(audio=joined) if len(joined) <= JOINED_BYTES else None
        return None


class MediaError(Message, frozen=True, tag="media_error"):
    """What the client sent could not be decoded; nothing of it is in the stream."""

    code: str
    message: str
    """a sentence for the person"""


class Gap(Message, frozen=True, tag="gap"):
    """A hole that is known: about this much of what the client recorded is missing, here or in the recording before."""

    missing_ms: int
    filled: bool = False
    """the audio before this holds the silence that stands for it"""


PcmMessage = (
    GenOpened
    | Audio
    | UtteranceEnd
    | MediaError
    | Gap
    | Commit
    | Clear
    | Text
    | Instructions
    | SetPersona
    | ClientEvent
    | End
)

decoder: Decoder[PcmMessage] = Decoder(PcmMessage)
