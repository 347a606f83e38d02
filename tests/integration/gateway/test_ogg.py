"""Pages that libavformat reads: all packets, in their places, and as long as what was said."""

from __future__ import annotations

import io
import struct

import av
import pytest

from gateway.ogg import OggAnswers, crc
from streams import down
from streams.coding import Coding
from tests.media.make_media import as_samples, correlation, lag, speech
from transcoder.play_parts import CodedPart

SPEECH = speech("speech_jfk", 24_000, "mono").astype("<i2").tobytes()

Piece = tuple[bytes, down.Packets]


def coded(pcm: bytes, coding: Coding | None = None) -> list[Piece]:
    """In pieces of 100 ms, and the end."""
    entries = [down.Audio("r", "i", 0, at // 48, pcm[at : at + 4_800]) for at in range(0, len(pcm), 4_800)]
    part = CodedPart("opus", coding or Coding(), entries[0])
    pieces: list[Piece] = [(said.audio, said.packets) for said in map(part.feed, entries)]
    return [*pieces, part.end()]


def muxed(pieces: list[Piece], answers: OggAnswers | None = None, item: str = "i") -> list[bytes]:
    answers = answers or OggAnswers()
    return [answers.say(item, 0, audio, packets) for audio, packets in pieces]


def packets_of(file: bytes) -> list[bytes]:
    with av.open(io.BytesIO(file), "r", format="ogg") as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def played(file: bytes) -> bytes:
    """As a player does, that skips and trims."""
    pcm = b""
    with av.open(io.BytesIO(file), "r", format="ogg") as container:
        resampler = av.AudioResampler("s16", "mono", 48_000)
        for frame in container.decode(audio=0):
            for made in resampler.resample(frame):
                pcm += bytes(made.planes[0])[: 2 * made.samples]
    return pcm


def split(piece: Piece) -> list[bytes]:
    audio, packets = piece
    ends = [sum(packets.sizes[: n + 1]) for n in range(len(packets.sizes))]
    return [audio[end - size : end] for end, size in zip(ends, packets.sizes, strict=True)]


@pytest.mark.parametrize("coding", [Coding(), Coding(128_000, 60), Coding(8_000, 40)])
def test_each_packet_is_there(coding: Coding) -> None:
    """Also large ones."""
    pieces = coded(SPEECH, coding)
    assert packets_of(b"".join(muxed(pieces))) == [packet for piece in pieces for packet in split(piece)]


@pytest.mark.parametrize("samples", [100, 480, 5_000, 24_000, 24_001])
def test_it_lasts_as_long_as_what_was_said(samples: int) -> None:
    """To the sample: priming is skipped, padding cut off."""
    file = b"".join(muxed(coded(SPEECH[48_000:][: 2 * samples])))
    assert len(played(file)) == 2 * 2 * samples


def test_it_is_what_was_said() -> None:
    heard = as_samples(played(b"".join(muxed(coded(SPEECH)))))[::2]
    assert lag(heard, as_samples(SPEECH)) == 0
    assert correlation(heard, as_samples(SPEECH)) >= 0.95


def test_each_page_is_heard_at_once() -> None:
    """What is cut off behind any piece is a file with all packets so far."""
    pieces = coded(SPEECH[:48_000])
    pages = muxed(pieces)
    for n in range(1, len(pages)):
        assert packets_of(b"".join(pages[:n])) == [packet for piece in pieces[:n] for packet in split(piece)]


def test_one_answer_after_the_other_is_one_file() -> None:
    """Each part is a stream of its own, with a number of its own."""
    answers = OggAnswers()
    one, two = coded(SPEECH[:48_000]), coded(SPEECH[48_000:96_000])
    file = b"".join(muxed(one, answers, "i1") + muxed(two, answers, "i2"))
    assert len(played(file)) == 2 * 96_000
    serials = [struct.unpack_from("<I", page, 10)[0] for page in file.split(b"OggS")[1:]]
    assert serials == sorted(serials)
    assert len(set(serials)) == 2


def test_a_stream_may_begin_in_the_middle() -> None:
    """Of a client that dialled again: what it has and what it gets are as long as what was said, without a gap."""
    pieces = coded(SPEECH[:96_000])
    before, behind = b"".join(muxed(pieces[:7])), b"".join(muxed(pieces[7:]))
    assert len(played(before)) + len(played(behind)) == 2 * 96_000


def test_nothing_is_no_page() -> None:
    assert OggAnswers().say("i", 0, b"", down.Packets([], -156, 480)) == b""


def test_many_packets_need_several_pages() -> None:
    """A page has 255 segments."""
    packets = [bytes([n % 256]) * 600 for n in range(100)]
    file = OggAnswers().say("i", 0, b"".join(packets), down.Packets([600] * 100, 0, 480))
    assert packets_of(file) == packets


def test_the_checksum_is_oggs() -> None:
    """Bit by bit."""
    page, slow = b"OggS and more", 0
    for byte in page:
        slow ^= byte << 24
        for _ in range(8):
            slow = (slow << 1 ^ (0x04C11DB7 if slow >> 31 else 0)) & 0xFFFFFFFF
    assert crc(page) == slow
