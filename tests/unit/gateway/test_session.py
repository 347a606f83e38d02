"""What a client's session does about what the client says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.session import (
    Append,
    ClientSession,
    Effect,
    HandOut,
    Left,
    OpenGen,
    Persona,
    Recording,
    Said,
    Speech,
)
from streams import pcm, up
from streams.messages import Clear, SetPersona

SECOND = 48_000


def do(session: ClientSession, said: Said) -> list[Effect]:
    """Plan it, and perform all of it."""
    plan = session.plan(said)
    for effect in plan:
        session.performed(effect)
    return plan


def test_the_first_recording_needs_both_workers() -> None:
    session = ClientSession()
    assert do(session, Recording(b"a", 1)) == [HandOut("bridge"), HandOut("transcoder"), Append("up", up.File(b"a", 1))]
    assert do(session, Recording(b"b", 2)) == [Append("up", up.File(b"b", 2))]


def test_pcm_needs_no_transcoder() -> None:
    session = ClientSession()
    end = pcm.UtteranceEnd(2, 7, "pcm16 24000 Hz mono")
    assert do(session, Speech(b"abcd", 7)) == [HandOut("bridge"), Append("pcm", pcm.Audio(b"abcd")), Append("pcm", end)]


def test_pcm_is_cut_in_pieces_of_a_second() -> None:
    plan = ClientSession().plan(Speech(bytes(2 * SECOND + 2), 0))
    pieces = [effect.message for effect in plan if isinstance(effect, Append)]
    assert pieces == [
        pcm.Audio(bytes(SECOND)),
        pcm.Audio(bytes(SECOND)),
        pcm.Audio(bytes(2)),
        pcm.UtteranceEnd(SECOND + 1, 0, "pcm16 24000 Hz mono"),
    ]


def test_after_a_recording_everything_goes_up() -> None:
    session = ClientSession()
    do(session, Recording(b"a", 1))
    assert {effect.stream for effect in do(session, Speech(b"ab", 2)) if isinstance(effect, Append)} == {"up"}
    assert do(session, Persona("luna")) == [Append("up", SetPersona("luna"))]
    assert do(session, Left()) == []


def test_a_recording_after_words_that_went_straight_gets_a_gen_above_them() -> None:
    session = ClientSession()
    assert do(session, Persona("luna")) == [HandOut("bridge"), Append("pcm", SetPersona("luna"))]
    file = Append("up", up.File(b"a", 1))
    assert do(session, Recording(b"a", 1)) == [HandOut("transcoder"), OpenGen(), file]
    assert do(session, Recording(b"a", 1)) == [file]


def test_who_said_nothing_just_goes() -> None:
    session = ClientSession()
    assert session.plan(Left()) == []
    assert not session.is_known


def test_what_was_not_performed_is_planned_again() -> None:
    """Redis was away: nobody has the session yet."""
    session = ClientSession()
    first = session.plan(Recording(b"a", 1))
    session.failed(first)
    assert session.plan(Recording(b"a", 1)) == first
    session.performed(first[0])
    assert session.plan(Recording(b"a", 1)) == first[1:]


def test_half_an_utterance_is_cleared_before_the_next_words() -> None:
    session = ClientSession()
    plan = session.plan(Speech(bytes(SECOND + 2), 1))
    for effect in plan[:2]:  # the bridge, and the first second
        session.performed(effect)
    session.failed(plan)
    assert do(session, Speech(b"ab", 2))[:2] == [Append("pcm", Clear()), Append("pcm", pcm.Audio(b"ab"))]
    assert do(session, Speech(b"ab", 3))[0] == Append("pcm", pcm.Audio(b"ab"))


def test_a_clear_that_failed_is_said_again() -> None:
    session = ClientSession()
    do(session, Persona("luna"))
    session.failed(session.plan(Speech(b"ab", 1)))
    plan = session.plan(Recording(b"a", 2))
    assert plan == [HandOut("transcoder"), OpenGen(), Append("up", Clear()), Append("up", up.File(b"a", 2))]
    for effect in plan:
        session.performed(effect)
    session.failed(plan)
    assert session.plan(Persona("luna")) == [Append("up", Clear()), Append("up", SetPersona("luna"))]


SAID = st.one_of(
    st.just(Recording(b"file", 1)),
    st.integers(1, SECOND).map(lambda samples: Speech(bytes(2 * samples), 1)),
    st.just(Persona("luna")),
)


@given(st.lists(st.tuples(SAID, st.integers(0, 8))))
def test_nothing_goes_straight_after_a_recording(script: list[tuple[Said, int]]) -> None:
    """Whatever fails, and wherever: the order of what was said is the order of what is stored."""
    session, moved, opened, went_straight = ClientSession(), False, True, False
    for said, fails_after in script:
        plan = session.plan(said)
        for effect in plan[:fails_after]:
            match effect:
                case Append("pcm"):
                    assert not moved
                    opened, went_straight = False, True
                case Append("up", message):
                    assert opened or not went_straight
                    moved = moved or isinstance(message, up.File)
                case OpenGen():
                    opened = True
            session.performed(effect)
        if fails_after < len(plan):
            session.failed(plan)


@given(st.binary(min_size=2, max_size=3 * SECOND).map(lambda data: data[: len(data) // 2 * 2]))
def test_no_sample_is_lost_by_the_cut(audio: bytes) -> None:
    messages = [effect.message for effect in ClientSession().plan(Speech(audio, 0)) if isinstance(effect, Append)]
    pieces = [message.audio for message in messages if isinstance(message, pcm.Audio)]
    assert b"".join(pieces) == audio
    assert all(0 < len(piece) <= SECOND and len(piece) % 2 == 0 for piece in pieces)
