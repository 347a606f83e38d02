"""PURE. What a client of the openai door hears instead of PCM16 at 24 kHz, if its address asks for it.

`?audio=pcm16_8000`, `pcm16_16000`, `pcm16_48000`: `response.output_audio.delta` at that rate. The last milliseconds of a
part are a delta of their own, right before the event that ends it.

`?audio=opus` or `aac`, with `&bitrate=` and `&frame_ms=`: packets, in frames. Over WebSocket a frame is a binary frame; over
Server-Sent Events it is the base64 in `{"type":"parley.audio","frame":…}`. All numbers are big-endian:

  0  u8   1, the version               1  u8   flags: 1 = tail
  2  u16  content_index                4  u64  did, left half        12  u64  did, right half
 20  i32  position in the part, in samples at 24 kHz, of what the first packet decodes to. What lies before 0 is not heard
 24  u16  samples at 24 kHz that each packet decodes to
 26  u16  of a tail: samples at the end of its last packet that are not heard
 28  u8   n, length of the item_id
 29  the item_id, then the packets: u16 length, data

A tail holds the last packets of a part (or, at another rate, its last samples: `"tail":true`). It comes right before the
event that ends the part and has the same did, which counts as got with that event only: whoever resumes between the two is
told the tail again.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import pybase64

from gateway import g711
from gateway.doors import openai_messages as wire
from gateway.g711 import Law
from streams import down
from streams.coding import FRAMES_MS, MAX_BIT_RATE, MIN_BIT_RATE, Coding
from streams.ids import EntryId
from streams.keys import PLAY_CODECS, PlayCodec

VERSION = 1
TAIL = 1
_HEAD = struct.Struct(">BBHQQiHHB")
_PACKET = struct.Struct(">H")

PLAIN = "pcm16"
"""What is heard where nothing is asked for."""


@dataclass(frozen=True, slots=True)
class Heard:
    """In what a client hears answers."""

    codec: PlayCodec | None = None
    """None: PCM16 at 24 kHz, as the model says it"""
    coding: Coding = Coding()  # noqa: RUF009 - frozen
    mistakes: tuple[wire.Mistake, ...] = ()
    """what was asked for in vain; it is left at its default"""
    law: Law | None = None
    """of PCM at 8 kHz: as G.711 has it"""

    @property
    def is_named(self) -> bool:
        """Whether the address asks for something."""
        return self.codec is not None

    def sound(self, audio: bytes) -> bytes:
        """Samples as they are heard."""
        return audio if self.law is None else g711.encode(audio, self.law)


def read_query(query: Mapping[str, str]) -> Heard:
    """What the address asks for."""
    mistakes = list[wire.Mistake]()
    codec: PlayCodec | None = None
    if (named := query.get("audio") or PLAIN) != PLAIN:
        codec = next((known for known in PLAY_CODECS if known == named), None)
        if codec is None:
            shown = named if len(named) <= 40 else named[:40] + "…"
            values = ", ".join(f"'{known}'" for known in (PLAIN, *PLAY_CODECS))
            sentence = f"Invalid value: '{shown}'. Supported values are: {values}. Until you ask again it is '{PLAIN}'."
            mistakes.append(wire.Mistake("invalid_value", sentence, param="audio"))
    bit_rate = _number(
        query, "bitrate", range(MIN_BIT_RATE, MAX_BIT_RATE + 1), f"{MIN_BIT_RATE} to {MAX_BIT_RATE}", mistakes
    )
    frame_ms = _number(query, "frame_ms", FRAMES_MS, ", ".join(map(str, FRAMES_MS)), mistakes)
    return Heard(codec, Coding(bit_rate, frame_ms), tuple(mistakes))


def _number(
    query: Mapping[str, str], name: str, known: range | tuple[int, ...], shown: str, mistakes: list[wire.Mistake]
) -> int | None:
    text = query.get(name)
    if not text:
        return None
    if text.isascii() and text.isdecimal() and len(text) <= 6 and int(text) in known:
        return int(text)
    sentence = f"Invalid '{name}': supported values are: {shown}. It is left out."
    mistakes.append(wire.Mistake("invalid_value", sentence, param=name))
    return None


def frame(did: EntryId, item: str, part: int, audio: bytes, packets: down.Packets) -> bytes:
    """Packets as they go out; those of a `down.Tail` are one."""
    named = item.encode()[:255]
    flags, padding = (TAIL, packets.padding) if isinstance(packets, down.Tail) else (0, 0)
    head = _HEAD.pack(VERSION, flags, part, did.left, did.right, packets.position, packets.samples, padding, len(named))
    pieces, at = [head, named], 0
    for size in packets.sizes:
        pieces += (_PACKET.pack(size), audio[at : at + size])
        at += size
    return b"".join(pieces)


def in_json(frame: bytes) -> bytes:
    """A frame where only text can be sent."""
    return msgspec.json.encode({"type": "parley.audio", "frame": pybase64.b64encode_as_string(frame)})


def tail_delta(did: EntryId, tail: down.Tail, audio: bytes) -> bytes:
    """The last samples of a part, at another rate."""
    said = down.Audio(tail.response, tail.item, tail.part, 0, audio, tail.output)
    return wire.audio_delta(did, said, is_tail=True)
