"""A part in packets: each in its place, none lost and none doubled, whoever makes it, and as long as what was said."""

from __future__ import annotations

import os
from random import Random

import numpy as np
import pytest

from streams import down
from streams.coding import Coding
from tests.integration.transcoder.streaming import noise
from tests.media.make_media import as_samples, correlation, lag, speech
from transcoder.encoder import FRAME_SAMPLES, Codec, Encoder
from transcoder.play_parts import CodedPart
from transcoder.stream import StreamDecoder

CODECS: tuple[Codec, ...] = ("opus", "aac")
ENTRY = 2_400
MINUTES = int(os.environ.get("PARLEY_MINUTES", "1"))
SPEECH = speech("speech_jfk", 24_000, "mono").astype("<i2").tobytes()


def said(pcm: bytes, chance: Random | None = None) -> list[down.Audio]:
    """As the bridge cuts it: at whole milliseconds, into at most 100."""
    entries: list[down.Audio] = []
    at = 0
    while at < len(pcm):
        size = 48 * chance.randint(1, 100) if chance else 2 * ENTRY
        entries.append(down.Audio("r", "i", 0, at // 48, pcm[at : at + size]))
        at += size
    return entries


def begun(codec: Codec, entries: list[down.Audio], coding: Coding | None = None) -> CodedPart:
    return CodedPart(codec, coding or Coding(), entries[0])


def heard(codec: Codec, parts: list[down.Coded], end: tuple[bytes, down.Tail]) -> bytes:
    """As a client decodes and trims it: what lies before the beginning and behind the end is not to be heard."""
    decoder = StreamDecoder("opus" if codec == "opus" else "stream")
    position = parts[0].packets.position
    pcm = b""
    for audio, packets in [*((part.audio, part.packets) for part in parts), end]:
        assert len(audio) == sum(packets.sizes)
        at = 0
        for size in packets.sizes:
            pcm += decoder.feed(audio[at : at + size], max_seconds=1e9).pcm
            at += size
    pcm += decoder.close(max_seconds=1e9).pcm
    return pcm[-2 * position : len(pcm) - 2 * end[1].padding]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("samples", [2, 300, 330, 480, 1_024, 9_007, 9_600, 24_576])
def test_it_is_as_long_as_what_was_said(codec: Codec, samples: int) -> None:
    """To the sample."""
    entries = said(SPEECH[48_000:][: 2 * samples])
    part = begun(codec, entries)
    parts = [part.feed(entry) for entry in entries]
    end = part.end()
    assert end[1].padding < FRAME_SAMPLES[codec]
    packets = sum(len(piece.packets.sizes) for piece in parts) + len(end[1].sizes)
    assert packets * FRAME_SAMPLES[codec] + parts[0].packets.position - end[1].padding == samples
    assert len(heard(codec, parts, end)) == 2 * samples


@pytest.mark.parametrize("codec", CODECS)
def test_it_sounds_alike_in_its_place(codec: Codec) -> None:
    entries = said(SPEECH)
    part = begun(codec, entries)
    got = as_samples(heard(codec, [part.feed(entry) for entry in entries], part.end()))
    assert len(got) == len(SPEECH) // 2
    assert lag(got, as_samples(SPEECH)) == 0
    assert correlation(got, as_samples(SPEECH)) >= 0.97


@pytest.mark.parametrize("codec", CODECS)
def test_each_entry_says_where_its_packets_begin(codec: Codec) -> None:
    """Right behind those before; the first ones' priming lies before the part."""
    entries = said(noise(30_001), Random(3))
    part = begun(codec, entries)
    position = part.feed(entries[0]).packets.position if not entries[0].audio else None
    for entry in entries if position is None else entries[1:]:
        packets = part.feed(entry).packets
        assert position is None or packets.position == position
        assert packets.position > -2 * FRAME_SAMPLES[codec]
        position = packets.position + packets.samples * len(packets.sizes)
    assert part.end()[1].position == position


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("frame_ms", [20, 40, 60])
def test_no_sample_waits_longer_than_a_packet(codec: Codec, frame_ms: int) -> None:
    """And what the codec looks ahead, which AAC does by two more."""
    entries = said(noise(30_000), Random(4))
    part = begun(codec, entries, Coding(frame_ms=frame_ms))
    for entry in entries:
        packets = part.feed(entry).packets
        given = packets.position + packets.samples * len(packets.sizes)
        waits = entry.start_ms * 24 + len(entry.audio) // 2 - given
        assert waits < packets.samples + (156 if codec == "opus" else 2 * 1024)


@pytest.mark.parametrize("codec", CODECS)
def test_the_first_sound_comes_not_later_than_a_frame_after_pcm(codec: Codec) -> None:
    """Fed by the millisecond. PCM in frames of this length would be heard with the first one that is full."""
    loud = SPEECH[48_000 : 2 * 48_000]
    entries = [down.Audio("r", "i", 0, at // 48, loud[at : at + 48]) for at in range(0, len(loud), 48)]
    part = begun(codec, entries)
    decoder = StreamDecoder("opus" if codec == "opus" else "stream")
    pcm, position = b"", 0
    fed = 0
    for entry in entries:
        piece = part.feed(entry)
        fed += len(entry.audio) // 2
        position = position or piece.packets.position
        pcm += _fed(decoder, piece)
        heard = as_samples(pcm)[-position:]
        if len(heard) and max(abs(heard)) > 300:
            break
    assert fed < 2 * FRAME_SAMPLES[codec] + 24
    assert correlation(heard, as_samples(loud)[: len(heard)]) > 0.9


def test_what_is_given_early_is_what_would_have_come_later() -> None:
    """But where the sound behind it makes the encoder choose shorter windows, which is rare."""
    alike = []
    for at in range(0, len(SPEECH) - 4 * 2_048, 2_400):
        encoder, undisturbed = Encoder("aac"), Encoder("aac")
        encoder.encode(SPEECH[at : at + 2 * 2_048])
        alike.append(encoder.early() == undisturbed.encode(SPEECH[at : at + 4 * 2_048])[1])
    assert len(alike) > 100
    assert sum(alike) >= 0.97 * len(alike)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("warm_up", [0, 1, 5, 40])
def test_who_takes_over_gives_each_packet_once(codec: Codec, warm_up: int) -> None:
    """Behind any entry, with as many entries before it as there still are: none of them, even."""
    entries = said(noise(30_001), Random(5))
    part = begun(codec, entries)
    undisturbed = [part.feed(entry).packets for entry in entries]
    end = part.end()[1]
    for seam in range(1, len(entries)):
        first = max(0, seam - warm_up)
        late = begun(codec, entries[first:])
        again = [late.feed(entry).packets for entry in entries[first:]][seam - first :]
        wanted = undisturbed[seam:]
        assert [len(each.sizes) for each in again] == [len(each.sizes) for each in wanted]
        assert [each.position for each in again] == [each.position for each in wanted]
        late_end = late.end()[1]
        assert (len(late_end.sizes), late_end.position, late_end.padding) == (len(end.sizes), end.position, end.padding)


@pytest.mark.parametrize("codec", CODECS)
def test_a_takeover_is_hardly_heard(codec: Codec) -> None:
    """The encoder was shown some seconds of what came before: what it says is in its place, and alike."""
    entries = said(SPEECH)
    seam = len(entries) // 2
    part, late = begun(codec, entries), begun(codec, entries[seam - 20 :])
    parts = [part.feed(entry) for entry in entries[:seam]]
    parts += [late.feed(entry) for entry in entries[seam - 20 :]][20:]
    got = as_samples(heard(codec, parts, late.end()))
    assert len(got) == len(SPEECH) // 2
    assert lag(got, as_samples(SPEECH)) == 0
    around = slice((seam - 5) * ENTRY, (seam + 5) * ENTRY)
    assert correlation(got[around], as_samples(SPEECH)[around]) >= 0.95


@pytest.mark.parametrize("codec", CODECS)
def test_it_does_not_drift(codec: Codec) -> None:
    """Each packet's place is that of its samples, and the last seconds lie where they were said. `make soak`: 10 minutes."""
    minute = (SPEECH * 10)[: 60 * 48_000]
    part = CodedPart(codec, Coding(), down.Audio("r", "i", 0, 0, b""))
    decoder = StreamDecoder("opus" if codec == "opus" else "stream")
    last, samples, packets, priming = b"", 0, 0, 0
    for n in range(600 * MINUTES):
        at = n % 600 * 4_800
        piece = part.feed(down.Audio("r", "i", 0, n * 100, minute[at : at + 4_800]))
        priming = priming or -piece.packets.position
        assert piece.packets.position == packets * piece.packets.samples - priming
        packets += len(piece.packets.sizes)
        got = decoder.feed(piece.audio, max_seconds=1e9).pcm if codec == "aac" else _fed(decoder, piece)
        samples += len(got) // 2
        last = (last + got)[-4 * 48_000 :]
    end = samples - priming  # the place in the part, behind what was decoded last
    whole = np.concatenate([as_samples(minute)] * 2)
    begin = (end - len(last) // 2) % (60 * 24_000)
    assert abs(lag(as_samples(last), whole[begin : begin + len(last) // 2])) < 240
    assert MINUTES * 60 * 24_000 - end < 2 * FRAME_SAMPLES[codec] + 1024


def _fed(decoder: StreamDecoder, piece: down.Coded) -> bytes:
    pcm, at = b"", 0
    for size in piece.packets.sizes:
        pcm += decoder.feed(piece.audio[at : at + size], max_seconds=1e9).pcm
        at += size
    return pcm
