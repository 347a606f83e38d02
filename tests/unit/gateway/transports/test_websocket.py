"""What fits in a close frame."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.transports.websocket import close_reason


@given(st.text(max_size=200).filter(lambda text: text.isprintable()))
def test_a_close_reason_fits_and_is_whole_characters(sentence: str) -> None:
    reason = close_reason(sentence)
    assert len(reason) <= 123
    assert sentence.startswith(reason.decode())
    assert len(sentence.encode()) > 119 or reason.decode() == sentence
