"""In what a client wants to hear answers."""

from __future__ import annotations

import pytest

from gateway.output import ALL_FORMATS, DEFAULT, LIVE_FORMATS, Output, PacketBefore, Wrapping, read_output
from streams import down
from streams.coding import Coding


def test_an_address_says_all_of_it() -> None:
    query = {"audio_format": "opus", "output_rate": "8000", "bitrate": "32000", "frame_ms": "60", "else": "x"}
    output, errors = read_output(query)
    assert (output, errors) == (Output("opus", 8_000, 32_000, 60), [])
    assert (output.codec, output.coding) == ("opus", Coding(32_000, 60))
    assert read_output({}) == (DEFAULT, [])
    assert DEFAULT.codec is None


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ({"audio_format": "mp3", "output_rate": "16000"}, Output(output_rate=16_000)),
        ({"audio_format": "aac", "bitrate": "7999"}, Output("aac")),
        ({"audio_format": "opus", "frame_ms": "30"}, Output("opus")),
        ({"output_rate": "44100", "bitrate": "8000"}, Output(bitrate=8_000)),
    ],
)
def test_what_cannot_be_read_is_left_at_its_default(query: dict[str, str], read: Output) -> None:
    """And named in one sentence."""
    output, (error,) = read_output(query)
    assert output == read
    assert any(name in str(error) for name in query)


def test_a_door_may_have_fewer_formats() -> None:
    """Those that it has are listed to whoever asks for another."""
    assert read_output({"audio_format": "wav"}, ALL_FORMATS) == (Output("wav"), [])
    output, (error,) = read_output({"audio_format": "wav"}, LIVE_FORMATS)
    assert output == DEFAULT
    assert "pcm16, opus, aac." in str(error)


def test_only_opus_needs_a_container() -> None:
    packets = down.Packets([2, 1], 0, 480)
    assert packets.split(b"abc") == [b"ab", b"c"]
    assert Wrapping(Output("aac")).wrapped("i", 0, b"abc", packets) == b"abc"
    assert Wrapping(Output("opus")).wrapped("i", 0, b"abc", packets).startswith(b"OggS")
    assert Wrapping(Output("opus")).wrapped("i", 0, b"", down.Packets([], 0, 480)) == b""


def test_a_packet_before_comes_once_and_only_where_it_leads() -> None:
    """Not in front of another item, another part or another place, and not in front of nothing."""
    here = down.Packets([3], 2_048, 1_024)
    for item, part, packets in (("j", 0, here), ("i", 1, here), ("i", 0, down.Packets([3], 3_072, 1_024))):
        wrapping = Wrapping(Output("aac"))
        wrapping.before = PacketBefore("i", 0, b"xyz", 2_048)
        assert wrapping.wrapped(item, part, b"abc", packets) == b"abc"
    wrapping = Wrapping(Output("aac"))
    wrapping.before = PacketBefore("i", 0, b"xyz", 2_048)
    assert wrapping.wrapped("i", 0, b"", down.Packets([], 2_048, 1_024)) == b""
    assert wrapping.wrapped("i", 0, b"abc", here) == b"xyzabc"
    assert wrapping.wrapped("i", 0, b"abc", here) == b"abc"
