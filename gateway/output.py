"""PURE. In what a client wants to hear answers, as the doors of JSON and of Server-Sent Events let it say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import msgspec

from gateway.errors import InvalidMessage, UnknownFormat
from gateway.ogg import OggAnswers
from streams import down
from streams.coding import MAX_BIT_RATE, MIN_BIT_RATE, Coding
from streams.keys import PlayCodec

AudioFormat = Literal["pcm16", "wav", "opus", "aac"]
"""What an answer's audio is: PCM16 mono as it comes, one complete WAV file an answer; Opus in Ogg or AAC in ADTS as it
comes."""

LiveFormat = Literal["pcm16", "opus", "aac"]
"""At a door that gives no whole answers."""

OutputRate = Literal[8_000, 16_000, 24_000, 48_000]
"""Hertz, of PCM and WAV."""

FrameMs = Literal[20, 40, 60]
"""Of an Opus packet."""

BitRate = Annotated[int, msgspec.Meta(ge=MIN_BIT_RATE, le=MAX_BIT_RATE)]

ALL_FORMATS: tuple[AudioFormat, ...] = get_args(AudioFormat)
LIVE_FORMATS: tuple[AudioFormat, ...] = get_args(LiveFormat)


class Output(msgspec.Struct, frozen=True):
    """In what an answer is heard."""

    audio_format: AudioFormat = "pcm16"
    output_rate: OutputRate = 24_000
    bitrate: int | None = None
    frame_ms: int | None = None

    @property
    def codec(self) -> PlayCodec | None:
        """The play stream in which it is; None: `down` itself."""
        if self.audio_format == "opus" or self.audio_format == "aac":
            return self.audio_format
        codecs: dict[int, PlayCodec] = {8_000: "pcm16_8000", 16_000: "pcm16_16000", 48_000: "pcm16_48000"}
        return codecs.get(self.output_rate)

    @property
    def coding(self) -> Coding:
        return Coding(self.bitrate, self.frame_ms)

    def changed(self, asked: object) -> Output:
        """What a message makes of it that has the same fields, None where it asks for nothing."""
        fields = {field: getattr(asked, field) for field in self.__struct_fields__}
        return msgspec.structs.replace(self, **{field: value for field, value in fields.items() if value is not None})


DEFAULT = Output()


def read_output(
    query: Mapping[str, str], formats: Sequence[AudioFormat] = ALL_FORMATS
) -> tuple[Output, list[UnknownFormat | InvalidMessage]]:
    """What an address asks for. What cannot be read is left at its default, and told: it must lock nobody out."""
    output, errors = DEFAULT, list[UnknownFormat | InvalidMessage]()
    if named := query.get("audio_format"):
        if named in formats:
            output = Output(msgspec.convert(named, AudioFormat))
        else:
            errors.append(UnknownFormat("audio_format", named, formats, output.audio_format))
    for field, kind in (("output_rate", OutputRate), ("bitrate", BitRate), ("frame_ms", FrameMs)):
        if named := query.get(field):
            try:
                value = msgspec.convert(named, kind, strict=False)
            except msgspec.ValidationError as error:
                errors.append(InvalidMessage(f"The {field} of the address is not right: {error}. It is left out."))
            else:
                output = msgspec.structs.replace(output, **{field: value})
    return output, errors


def read_paced(query: Mapping[str, str], *, default: bool) -> bool:
    """Whether an answer is held back to the pace of its listener (`?paced=1`), or sent as it is generated, to a client that
    can take back what it has (`?paced=0`)."""
    return {"0": False, "1": True}.get(query.get("paced", ""), default)


@dataclass(frozen=True, slots=True)
class PacketBefore:
    """The last packet that a client has had of a part."""

    item: str
    part: int
    audio: bytes
    end: int
    """where the next packet begins in the part, in samples"""

    def leads_to(self, item: str, part: int, packets: down.Packets) -> bool:
        return (item, part, packets.position) == (self.item, self.part, self.end)


class Wrapping:
    """Packets as one client gets them: Opus in Ogg, AAC in the ADTS frames that it has anyway."""

    def __init__(self, output: Output = DEFAULT) -> None:
        self.output = output
        """may be changed between two answers"""
        self.before: PacketBefore | None = None
        """what comes first, where what is wrapped first is right behind it"""
        self._ogg = OggAnswers()

    def wrapped(self, item: str, part: int, audio: bytes, packets: down.Packets) -> bytes:
        """Of an answer, one after the other, these are one file. Nothing for no packets."""
        if self.output.audio_format == "opus":
            return self._ogg.say(item, part, audio, packets)
        if not packets.sizes:
            return b""
        before, self.before = self.before, None
        return before.audio + audio if before is not None and before.leads_to(item, part, packets) else audio
