"""Frames that know which they are, however they come back."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.load.coding import TALK, Coding, Echoes, Frame, FrameReader, delta_of

FRAMES = Coding.of(1_920)
FRAME_BYTES = FRAMES.frame_bytes


def audio(session: int, number: int) -> bytes:
    """The PCM of a frame."""
    event = msgspec.json.decode(FRAMES.append_event(session, number))
    assert event.keys() == {"type", "audio"}
    return pybase64.b64decode(event["audio"], validate=True)


def text(data: bytes) -> bytes:
    return pybase64.b64encode(data)


def test_a_frame_is_forty_milliseconds_of_pcm16() -> None:
    assert len(audio(1, 2)) == FRAME_BYTES == 24_000 * 2 * 40 // 1000
    assert msgspec.json.decode(FRAMES.append_event(1, 2))["type"] == "input_audio_buffer.append"


@pytest.mark.parametrize(
    "event",
    [
        b'{"type":"response.output_audio.delta","event_id":"e","delta":"AAAA"}',
        b'{"type": "response.output_audio.delta", "delta": "AAAA", "event_id": "e"}',
        b'{"delta":"AAAA","type":"response.output_audio.delta"}',
    ],
)
def test_a_delta_is_found_wherever_it_stands(event: bytes) -> None:
    assert delta_of(event) == b"AAAA"


@pytest.mark.parametrize(
    "event", [b'{"type":"response.output_audio_transcript.delta","delta":"AAAA"}', b'{"type":"session.created"}']
)
def test_other_events_have_none(event: bytes) -> None:
    assert delta_of(event) is None


def test_a_frame_that_comes_as_it_went_is_known() -> None:
    echoes = Echoes(7, FRAMES)
    assert echoes.feed(text(audio(7, 0))) == [0]
    assert echoes.feed(text(audio(7, 1))) == [1]
    assert (echoes.lost(2), echoes.doubled, echoes.foreign, echoes.broken) == (0, 0, 0, 0)


@given(st.lists(st.integers(1, 5 * FRAME_BYTES)))
def test_deltas_may_be_cut_and_joined_anywhere(cuts: list[int]) -> None:
    """The frames are the same."""
    said = b"".join(audio(7, number) for number in range(5))
    places = sorted({0, len(said), *(cut for cut in cuts if cut < len(said))})
    echoes = Echoes(7, FRAMES)
    heard = [number for began, ended in pairwise(places) for number in echoes.feed(text(said[began:ended]))]
    assert heard == [0, 1, 2, 3, 4]
    assert (echoes.lost(5), echoes.doubled, echoes.broken) == (0, 0, 0)


def test_what_is_lost_doubled_or_another_s_is_counted() -> None:
    echoes = Echoes(7, FRAMES)
    for session, number in ((7, 0), (7, 2), (7, 2), (8, 1)):
        echoes.feed(text(audio(session, number)))
    assert (echoes.lost(4), echoes.doubled, echoes.foreign) == (2, 1, 1)


@given(st.integers(1, FRAME_BYTES - 1))
def test_a_torn_frame_is_one_loss_and_the_next_is_found(torn: int) -> None:
    echoes = Echoes(7, FRAMES)
    heard = echoes.feed(text(audio(7, 0)[torn:] + audio(7, 1) + audio(7, 2)))
    heard += echoes.feed(text(audio(7, 3)))
    assert heard == [1, 2, 3]
    assert echoes.lost(4) == 1
    assert echoes.broken == 1


def test_silence_between_two_frames_is_no_damage() -> None:
    """An endless stream is silent between two answers; there nothing is damaged, however it is cut."""
    said = bytes(3_001) + TALK.speech(7, 0, 2) + bytes(1_000) + TALK.speech(7, 2, 1) + bytes(77)
    reader = FrameReader()
    frames = [frame for at in range(0, len(said), 500) for frame in reader.feed(said[at : at + 500])]
    assert frames == [Frame(7, 0), Frame(7, 1), Frame(7, 2)]
    reader.finish()
    assert reader.broken == 0


def test_a_frame_that_breaks_off_is_damage_and_the_next_is_found() -> None:
    """Also where silence comes, or nothing."""
    frame = TALK.speech(7, 0, 1)
    reader = FrameReader()
    assert reader.feed(frame[:500] + frame + frame[:100] + bytes(2_000) + frame + frame[:300]) == [Frame(7, 0)] * 2
    assert reader.broken == 2
    reader.finish()
    assert reader.broken == 3
