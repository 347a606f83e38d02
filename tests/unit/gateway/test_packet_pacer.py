"""Playback pace in packets: never far ahead, none lost or doubled or cut; silence fills exactly, and is silent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ogg import EndlessOgg
from gateway.pacer import AHEAD_S, SILENCE_AHEAD_S
from gateway.packet_pacer import AAC, OPUS, PacketKind, PacketPacer
from tests.contract.doors.coded_stage import played
from transcoder.encoder import Encoder

RATE = 24_000
KINDS = [pytest.param(AAC, id="aac"), *(pytest.param(kind, id=f"opus {ms} ms") for ms, kind in OPUS.items())]


def packet(number: int) -> bytes:
    """One that tells its place."""
    return b"packet %d" % number


def run(pacer: PacketPacer[int], now: float, until: float) -> list[bytes]:
    """What a shell sends that is never late."""
    sent: list[bytes] = []
    while (at := max(now, pacer.deadline())) <= until:
        now = at
        sent += pacer.due(now).pieces
    return sent


@pytest.mark.parametrize("kind", KINDS)
def test_silence_is_as_long_as_the_time(kind: PacketKind) -> None:
    """For an hour: within a packet of what may be sent ahead, and at no time behind."""
    pacer = PacketPacer[int](kind, 100.0)
    now, samples = 100.0, 0
    while now <= 3_700.0:
        due = pacer.due(now)
        assert set(due.pieces) == {kind.silence}
        assert due.samples == kind.samples * len(due.pieces)
        samples += due.samples
        assert 0 <= samples / RATE - (now - 100.0) <= SILENCE_AHEAD_S + 1 / RATE
        now = pacer.deadline()
        assert samples / RATE - (now - 100.0) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_word_goes_out_at_once(kind: PacketKind) -> None:
    pacer = PacketPacer[int](kind, 0.0)
    run(pacer, 0.0, 1.0)
    words = [packet(number) for number in range(100)]
    for word in words:
        pacer.feed("a", word)
    first = pacer.due(1.0).pieces
    assert first
    assert (first + run(pacer, 1.0, 8.0))[:100] == words


@pytest.mark.parametrize("kind", KINDS)
def test_an_interruption_cuts_at_the_next_packet(kind: PacketKind) -> None:
    """What was sent is sent; then silence, and the next answer. The marks of what is void are not lost."""
    pacer = PacketPacer[int](kind, 0.0)
    for number in range(100):
        pacer.feed("a", packet(number), number)
    sent = run(pacer, 0.0, 0.5)
    assert len(sent) <= (0.5 + AHEAD_S) * RATE / kind.samples
    pacer.void("a")
    pacer.feed("a", packet(100), 100)
    assert pacer.waiting_bytes == 0
    due = pacer.due(0.5)
    assert (due.pieces, due.mark) == ([], 100)
    assert set(run(pacer, 0.5, 1.5)) == {kind.silence}
    pacer.feed("b", packet(0))
    assert packet(0) in run(pacer, 1.5, 2.0)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.floats(0, 0.7)),
        st.tuples(st.just("late"), st.floats(0, 1.5)),
        st.tuples(st.just("feed"), st.integers(0, 12)),
    ),
    max_size=40,
)


@given(steps=steps, kind=st.sampled_from([AAC, *OPUS.values()]), start=st.floats(0, 1e6))
def test_never_ahead_and_nothing_lost_or_doubled(steps: list[tuple[str, float]], kind: PacketKind, start: float) -> None:
    """However packets come and however late the shell is: without an interruption all of them are sent, once and in order,
    with nothing but silence between, and at no time is more sent than the time that has gone by and 200 ms."""
    pacer = PacketPacer[int](kind, start)
    now, fed = start, 0
    sent: list[bytes] = []
    marks: list[int] = []

    def ask() -> None:
        due = pacer.due(now)
        sent.extend(due.pieces)
        if due.mark is not None:
            marks.append(due.mark)
            assert packet(due.mark) in sent
        assert len(sent) * kind.samples <= (now - start + AHEAD_S) * RATE + 1

    for what, amount in steps:
        if what == "feed":
            for _ in range(int(amount)):
                pacer.feed("a", packet(fed), fed)
                fed += 1
        elif what == "late":
            now += amount
            ask()
        else:
            until = now + amount
            while (at := max(now, pacer.deadline())) <= until:
                before, now = len(sent), at
                ask()
                assert len(sent) > before or pacer.deadline() > now or pacer.is_empty
            now = until
    while not pacer.is_empty:
        now = max(now, pacer.deadline())
        ask()
    assert [one for one in sent if one != kind.silence] == [packet(number) for number in range(fed)]
    assert marks == sorted(marks)
    assert not fed or marks[-1] == fed - 1


def test_silent_packets_are_silent() -> None:
    """As long as they say, also behind speech that has ended, and the encoder has made one of them."""
    aac = Encoder("aac").encode(bytes(2 * 1024 * 8))
    assert aac[-1].data == AAC.silence
    heard = played(AAC.silence * 50, "aac", RATE)
    assert len(heard) == 2 * 1024 * 50
    assert not any(heard)
    for kind in OPUS.values():
        ogg = EndlessOgg(kind.samples)
        pages = b"".join(ogg.say([kind.silence] * 2) for _ in range(50))
        heard = played(pages, "ogg", 48_000)
        assert len(heard) == 2 * 2 * kind.samples * 100
        assert not any(heard)


def test_an_ogg_without_an_end_has_positions_that_run_on() -> None:
    """In pages of what is due, whatever is in them."""
    ogg = EndlessOgg(OPUS[20].samples)
    pages = [ogg.say([OPUS[20].silence] * count) for count in (1, 2, 10, 1)]
    granules = [int.from_bytes(page[page.rindex(b"OggS") + 6 :][:8], "little") for page in pages]
    assert granules == [960, 3 * 960, 13 * 960, 14 * 960]
    assert ogg.say([]) == b""
