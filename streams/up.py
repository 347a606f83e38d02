"""`parley:{sid}:up`: client bytes as they came, and control, in order. Gateways write, the transcoder reads."""

from __future__ import annotations

from streams.codec import Decoder
from streams.messages import Clear, ClientEvent, Commit, End, Instructions, Message, SetPersona, Text

JOINED_BYTES = 48_000
"""Audio entries that wait together become one of at most this size: a second of PCM16 at 24 kHz."""


class GenOpened(Message, frozen=True, tag="gen"):
    """A new numbering begins: a client that numbers, a new codec, or a new stream header."""

    source: str
    """what follows: see `streams.sources`"""


class File(Message, frozen=True, tag="file"):
    """One whole recording, as it came."""

    data: bytes
    arrived_ms: int
    """milliseconds since 1970 at the gateway when the last byte was there"""


class Audio(Message, frozen=True, tag="audio"):
    """Speech: whole samples of PCM16 little-endian mono, at the rate that the gen's `source` names; 24 kHz where it names
    none. A client that also sends recordings has it go the same way, so that nothing overtakes."""

    audio: bytes

    def join(self, later: Message) -> Audio | None:
        if isinstance(later, Audio) and len(self.audio) + len(later.audio) <= JOINED_BYTES:
            return Audio(self.audio + later.audio)
        return None


class Chunk(Message, frozen=True, tag="chunk"):
    """The next bytes of a stream, as they came: of a container cut anywhere, one packet, or samples; the gen's `source` says
    which. It never joins: where a packet ends, its entry does. A chunk that begins with a container's own beginning begins
    another recording in the same gen."""

    data: bytes


class UtteranceEnd(Message, frozen=True, tag="utterance"):
    """The audio since the last one of these was one whole recording of the client."""

    samples: int
    arrived_ms: int
    """milliseconds since 1970 when the whole recording was there"""
    source: str
    """what it was: container, codec, rate, channels"""


UpMessage = (
    GenOpened | File | Audio | Chunk | UtteranceEnd | Commit | Clear | Text | Instructions | SetPersona | ClientEvent | End
)

decoder: Decoder[UpMessage] = Decoder(UpMessage)
