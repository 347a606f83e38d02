"""What the phone may say, and what both are told."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.doors import watch_messages as wire
from gateway.errors import InvalidAudio, InvalidMessage, UnknownType


@settings(max_examples=1000)
@given(st.one_of(st.binary(), st.text().map(lambda text: text.encode(errors="surrogatepass"))))
def test_no_frame_raises_anything_else(text: bytes) -> None:
    with suppress(InvalidMessage, UnknownType):
        assert isinstance(wire.decode(text), wire.FromPhone)


@given(st.text())
def test_a_line_is_one_line(text: str) -> None:
    line = wire.one_line(text)
    assert "\n" not in line
    assert "\r" not in line
    assert line.split() == text.split()


def test_the_phone_may_call_its_audio_by_either_name() -> None:
    assert wire.AudioChunk(data="AAE=").bytes() == wire.AudioChunk(audio="AAE=").bytes() == b"\0\1"
    for bad, error in ((wire.AudioChunk(), InvalidMessage), (wire.AudioChunk(data="é"), InvalidAudio)):
        with pytest.raises(error):
            bad.bytes()


def test_the_phone_is_told_the_conversation_first() -> None:
    assert (
        wire.to_phone(wire.TranscriptDelta("a\n"), "c") == b'{"type":"transcript_delta","conversationId":"c","text":"a\\n"}'
    )
    assert wire.to_phone(wire.ConversationStarted("c"), "c") == b'{"type":"conversation_started","conversationId":"c"}'
    assert wire.to_phone(wire.SessionCreated(), None) == b'{"type":"session.created"}'
