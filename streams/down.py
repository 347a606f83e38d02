"""`parley:{sid}:down`: what the bridge, and only the bridge, says to the client. Gateways and the transcoder read.

`parley:{sid}:play:<codec>` holds the same entries under the same ids, with the audio at another rate or coded
(`streams.play`).
"""

from __future__ import annotations

from itertools import accumulate, pairwise

import msgspec

from streams.codec import Decoder
from streams.messages import Message


class Opened(Message, frozen=True, tag="opened"):
    """The stream exists; nothing has been said yet."""


class EpochTaken(Message, frozen=True, tag="epoch"):
    """A bridge begins its reign; its entries follow."""

    owner: str


class Audio(Message, frozen=True, tag="audio"):
    """A piece of the answer, at most ~100 ms: PCM16 little-endian, 24 kHz (in a play stream: its own rate), mono."""

    response: str
    item: str
    part: int
    start_ms: int
    """position of its first sample in that part's audio"""
    audio: bytes
    output: int = 0
    """place of the item in its response"""


class Packets(msgspec.Struct, frozen=True):
    """What is in the bytes that go with it."""

    sizes: list[int]
    """bytes of each packet; they follow each other without anything between. Of PCM all is one"""
    position: int
    """Where what the first one decodes to begins in the part, in samples at 24 kHz. Below 0 at the beginning: so much comes
    out of the decoder first and is not to be heard (priming)"""
    samples: int
    """at 24 kHz, that each packet decodes to. Of PCM 0: its own length says it"""

    @property
    def seconds(self) -> float:
        """That all of them play."""
        return self.samples * len(self.sizes) / 24_000

    def split(self, audio: bytes) -> list[bytes]:
        """The packets in these bytes."""
        ends = list(accumulate(self.sizes, initial=0))
        return [audio[begin:end] for begin, end in pairwise(ends)]


class Tail(Packets, frozen=True, kw_only=True):
    """The end of a part."""

    item: str
    part: int
    response: str
    output: int = 0
    padding: int = 0
    """samples at 24 kHz that the last packet decodes to behind the end, and that are not to be heard"""


class Coded(Message, frozen=True, tag="coded"):
    """In a play stream of packets, what stands for an `Audio`: the packets that are complete with it, which may be none."""

    response: str
    item: str
    part: int
    start_ms: int
    """of the `Audio`"""
    audio: bytes
    """Opus packets, or AAC in ADTS frames, one after the other"""
    packets: Packets
    output: int = 0


class ServerEvent(Message, frozen=True, tag="event"):
    """An event of the model's, in its own name and words. Audio deltas are not among them: they are `Audio`."""

    type: str
    body: msgspec.Raw
    """the event as JSON"""
    tail: bytes | None = None
    """in a play stream: the last samples or packets of the part that this event ends, to be played before it"""
    tails: list[Tail] | None = None
    """what is in `tail`, in its order: nearly always one part's"""

    def ends(self) -> list[tuple[Tail, bytes]]:
        """The end of each part that ends with it, as far as it was not heard before."""
        ends, at = list[tuple[Tail, bytes]](), 0
        for tail in self.tails or ():
            size = sum(tail.sizes)
            ends.append((tail, (self.tail or b"")[at : at + size]))
            at += size
        return ends


class Interrupted(Message, frozen=True, tag="interrupted"):
    """The user spoke: the rest of this item is void, also for every later replay."""

    item: str
    part: int
    at_ms: int
    """how much of the part counts as heard"""


class PersonaSet(Message, frozen=True, tag="persona_set"):
    """The model answers as this persona from here on."""

    persona: str


class Failed(Message, frozen=True, tag="failed"):
    """Something did not work; a sentence for the person. The session goes on unless `Ended` follows."""

    code: str
    message: str
    pcm_id: str | None = None
    """the entry of `pcm` that it is about: whoever reads that again, in another bridge, does not say so again"""


class Notice(Message, frozen=True, tag="notice"):
    """Something that a person should know, in a sentence; nothing has failed."""

    code: str
    message: str
    final: bool = False
    """the session ends for that: `Ended` follows, when what is being answered has been answered"""


class Reconnecting(Message, frozen=True, tag="reconnecting"):
    """The line to the model broke; nothing is answered until `Resumed`. What was said meanwhile is kept."""


class Resumed(Message, frozen=True, tag="resumed"):
    """The conversation goes on, on another line to the model, which knows what was said."""


class Ended(Message, frozen=True, tag="ended"):
    """The last entry of a session."""

    reason: str


DownMessage = (
    Opened
    | EpochTaken
    | Audio
    | Coded
    | ServerEvent
    | Interrupted
    | PersonaSet
    | Failed
    | Notice
    | Reconnecting
    | Resumed
    | Ended
)

decoder: Decoder[DownMessage] = Decoder(DownMessage)
