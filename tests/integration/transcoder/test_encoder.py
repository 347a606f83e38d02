"""What is coded for a client sounds like what was said, in its place, and costs a tenth."""

from __future__ import annotations

import pybase64
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.coding import MAX_BIT_RATE, MIN_BIT_RATE, Coding
from tests.media.make_media import as_samples, correlation, lag, speech
from transcoder.encoder import FRAME_SAMPLES, Codec, Coded, Encoder
from transcoder.stream import StreamDecoder

PCM = speech("speech_jfk", 24_000, "mono").astype("<i2").tobytes()
CODECS: tuple[Codec, ...] = ("opus", "aac")


def encode(codec: Codec, pcm: bytes, size: int = 4_800, bit_rate: int | None = None) -> tuple[list[Coded], Encoder]:
    """In pieces of this size."""
    encoder = Encoder(codec, Coding(bit_rate))
    packets = [packet for at in range(0, len(pcm), size) for packet in encoder.encode(pcm[at : at + size])]
    return packets + encoder.flush(), encoder


def decode(codec: Codec, packets: list[Coded]) -> bytes:
    decoder = StreamDecoder("opus" if codec == "opus" else "stream")
    heard = b"".join(decoder.feed(packet.data, max_seconds=1e9).pcm for packet in packets)
    return heard + decoder.close(max_seconds=1e9).pcm


@pytest.mark.parametrize("codec", CODECS)
def test_it_sounds_alike_and_is_in_its_place(codec: Codec) -> None:
    packets, encoder = encode(codec, PCM)
    heard = as_samples(decode(codec, packets))[encoder.priming :]
    wanted = as_samples(PCM)
    assert len(heard) >= len(wanted)
    assert lag(heard, wanted) == 0
    assert correlation(heard, wanted) >= 0.97


def test_opus_at_24_kbit_costs_less_than_a_tenth_of_pcm_in_base64() -> None:
    packets, _ = encode("opus", PCM, bit_rate=24_000)
    assert sum(len(packet.data) for packet in packets) * 10 < len(pybase64.b64encode(PCM))


@pytest.mark.parametrize("codec", CODECS)
def test_a_packet_comes_with_the_sample_that_completes_it(codec: Codec) -> None:
    """Nothing waits for a second packet but AAC's, whose first one is priming."""
    frame = FRAME_SAMPLES[codec] * 2
    encoder = Encoder(codec)
    assert encoder.encode(PCM[: frame - 2]) == []
    early = encoder.encode(PCM[frame - 2 : frame])
    assert len(early) == (1 if codec == "opus" else 0)
    assert len(encoder.encode(PCM[frame : 2 * frame])) == 1


@settings(max_examples=20, deadline=None)
@given(codec=st.sampled_from(CODECS), size=st.integers(2, 9_000).map(lambda size: size // 2 * 2))
def test_however_the_pcm_comes_the_packets_are_the_same(codec: Codec, size: int) -> None:
    assert encode(codec, PCM[:48_000], size)[0] == encode(codec, PCM[:48_000], 48_000)[0]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("samples", [1, 479, 480, 481, 1024, 5_000])
def test_the_end_says_how_much_of_it_is_padding(codec: Codec, samples: int) -> None:
    packets, encoder = encode(codec, PCM[: 2 * samples])
    made = sum(packet.samples for packet in packets)
    assert made - encoder.padding >= samples
    assert encoder.padding < FRAME_SAMPLES[codec]


@pytest.mark.parametrize("bit_rate", [MIN_BIT_RATE - 1, MAX_BIT_RATE + 1, 0, -1])
def test_a_bit_rate_that_is_none_is_refused(bit_rate: int) -> None:
    with pytest.raises(ValueError, match="bits a second"):
        Encoder("opus", Coding(bit_rate))


@pytest.mark.parametrize("frame_ms", [0, 10, 21, 120])
def test_a_length_of_frames_that_is_none_is_refused(frame_ms: int) -> None:
    with pytest.raises(ValueError, match="20, 40, 60"):
        Encoder("opus", Coding(frame_ms=frame_ms))
