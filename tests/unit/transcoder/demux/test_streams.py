"""Demuxers of streams: whatever the chunks are, the packets are libavformat's; whatever the damage, they go on."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.media.make_media import make_stream
from transcoder.demux.adts import adts, mp3
from transcoder.demux.fmp4 import FragmentedDemuxer
from transcoder.demux.ogg import OggDemuxer
from transcoder.demux.packets import Damage, Demuxer, DemuxError, Event, Packet, Track
from transcoder.demux.webm import WebmDemuxer

RECORDED = Path(__file__).parents[3] / "media" / "mediarecorder"
DEMUXERS: dict[str, Callable[[], Demuxer]] = {
    "webm": WebmDemuxer,
    "mkv": WebmDemuxer,
    "ogg": OggDemuxer,
    "mp4": FragmentedDemuxer,
    "aac": adts,
    "mp3": mp3,
}
FILES = sorted(path.name for path in RECORDED.iterdir() if path.suffix[1:] in DEMUXERS)
MADE = (
    "opus.webm",
    "live_opus.webm",
    "pcm.mkv",
    "opus.ogg",
    "vorbis.ogg",
    "flac.ogg",
    "opus.mp4",
    "aac.mp4",
    "lc.aac",
    "cbr.mp3",
)
IN_ONE_PIECE = {"opus.mp4", "pcm.mkv", "flac.ogg"}
"""Nothing in the middle of these can be recognised: one fragment, two pages, and blocks as large as the search is far."""
STREAMS = [*FILES, *MADE]


@cache
def stream(name: str) -> bytes:
    return (RECORDED / name).read_bytes() if name in FILES else make_stream(name)


def demuxer(name: str) -> Demuxer:
    return DEMUXERS[name.rpartition(".")[2]]()


def run(name: str, chunks: list[bytes]) -> list[Event]:
    demux = demuxer(name)
    events = [event for chunk in chunks for event in demux.feed(chunk)]
    return [*events, *demux.close()]


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@cache
def libav_packets(name: str) -> list[bytes]:
    with av.open(io.BytesIO(stream(name)), "r") as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def packets(events: list[Event]) -> list[bytes]:
    return [event.data for event in events if isinstance(event, Packet)]


@pytest.mark.parametrize("size", [1, 7, 1_000, 1 << 30])
@pytest.mark.parametrize("name", STREAMS)
def test_packets_are_those_of_libavformat_whatever_the_chunks(name: str, size: int) -> None:
    events = run(name, cut(stream(name), size))
    assert isinstance(events[0], Track)
    assert packets(events) == libav_packets(name)
    assert not [event for event in events if isinstance(event, Damage)]


@pytest.mark.parametrize("name", FILES)
def test_a_browsers_own_chunks_give_sound_as_they_come(name: str) -> None:
    """No chunk that completes a packet waits for the next one."""
    sizes = json.loads((RECORDED / f"{name}.json").read_text())
    demux, at, given = demuxer(name), 0, 0
    for size in sizes:
        given += len(packets(demux.feed(stream(name)[at : at + size])))
        at += size
        fresh = demuxer(name)
        assert given == len(packets(fresh.feed(stream(name)[:at])))
    assert given == len(libav_packets(name))


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(STREAMS), cuts=st.lists(st.integers(0, 4_000), max_size=20))
def test_any_cutting_gives_the_same(name: str, cuts: list[int]) -> None:
    data, at, chunks = stream(name), 0, []
    for size in cuts:
        chunks.append(data[at : at + size])
        at += size
    assert run(name, [*chunks, data[at:]]) == run(name, [data])


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(STREAMS), flips=st.lists(st.tuples(st.integers(0, 30_000), st.integers(1, 255)), max_size=12))
def test_damage_costs_what_it_hits_and_never_the_process(name: str, flips: list[tuple[int, int]]) -> None:
    """Nothing but DemuxError is raised, and no more bytes come out than went in."""
    data = bytearray(stream(name)[:30_000])
    for at, value in flips:
        data[at % len(data)] ^= value
    events: list[Event] = []
    with suppress(DemuxError):
        events = run(name, cut(bytes(data), 777))
    assert sum(map(len, packets(events))) <= len(data)


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from(sorted(DEMUXERS)), data=st.binary(max_size=3_000), head=st.sampled_from(STREAMS))
def test_noise_is_no_stream(kind: str, data: bytes, head: str) -> None:
    for chunks in ([data], [stream(head)[:300], data]):
        demux = DEMUXERS[kind]()
        events: list[Event] = []
        with suppress(DemuxError):
            for chunk in chunks:
                events += demux.feed(chunk)
            events += demux.close()
        assert sum(map(len, packets(events))) <= sum(map(len, chunks))


@pytest.mark.parametrize("name", [name for name in STREAMS if name not in IN_ONE_PIECE])
def test_after_lost_chunks_it_goes_on_at_the_next_place_it_knows(name: str) -> None:
    """The header was heard; then a third of the stream is missing."""
    data = stream(name)
    first, second = len(data) // 3, 2 * len(data) // 3
    demux = demuxer(name)
    before = packets(demux.feed(data[:first]))
    demux.resync()
    after = packets([*demux.feed(data[second:]), *demux.close()])
    whole = libav_packets(name)
    assert before == whole[: len(before)]
    assert after
    assert after == whole[len(whole) - len(after) :]


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from([name for name in STREAMS if name not in (*IN_ONE_PIECE, "vorbis.ogg")]),  # pages of a second
    at=st.floats(0.2, 0.5),
    missing=st.integers(1, 3_000),
)
def test_bytes_that_nobody_said_are_missing_cost_little(name: str, at: float, missing: int) -> None:
    """What came long before is heard, and what comes 20 KB later."""
    data = stream(name)
    begin = int(len(data) * at)
    heard, whole = packets(run(name, cut(data[:begin] + data[begin + missing :], 700))), libav_packets(name)
    size = sum(map(len, whole))
    upto, after = 0, 0
    for packet in whole:
        after += len(packet)
        if after < size * (at - 0.1):
            upto += 1
    assert heard[: upto - 1] == whole[: upto - 1]
    if len(data) - begin > 24_000:
        assert heard[-2:] == whole[-2:]


def test_an_end_that_says_how_much_is_padding_is_believed() -> None:
    """Ogg: the last page's position. What was encoded begins with priming and ends in the middle of a packet."""
    events = run("opus.ogg", [stream("opus.ogg")])
    track = events[0]
    assert isinstance(track, Track)
    padding = sum(event.padding for event in events if isinstance(event, Packet))
    made = sum(960 for event in events if isinstance(event, Packet))
    assert made - track.priming - padding == 2 * 48_000
